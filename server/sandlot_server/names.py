"""Names of templates: `[namespace/]name[:tag]`, in lower case."""

from __future__ import annotations

import re

from sandlot_server.errors import InvalidRequest
from sandlot_server.models import DEFAULT_TAG, DEFAULT_TEAM

RESERVED_NAMESPACE = "e2bdev"
"""Under which E2B's own templates are known."""
NAME = re.compile(r"[a-z0-9_-]+")
TAG = re.compile(r"[a-z0-9_.-]+")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_TEAM = 63
SANDBOX_ID = re.compile(r"[a-z0-9]+")


def parse_reference(text: str) -> tuple[str, str | None]:
    """Return name (with its namespace) and tag of a reference; raises InvalidRequest.

    The tag is None when there is none or when it is `default`, which means the same.
    """
    whole, colon, tag = text.strip().lower().partition(":")
    namespace, slash, name = whole.rpartition("/")
    _check(NAME, name, "template ID", text)
    if slash:
        _check(NAME, namespace, "namespace", text)
    if colon:
        _check(TAG, tag, "tag", text)
    return whole, tag if colon and tag != DEFAULT_TAG else None


def parse_tag(text: str) -> str:
    """Return a tag as it is kept; raises InvalidRequest. Build ids are no tags, since both stand in the same place."""
    tag = text.strip().lower()
    if not TAG.fullmatch(tag) or UUID.fullmatch(tag):
        raise InvalidRequest(f"Invalid tag: {text}")
    return tag


def parse_own_name(text: str, team: str) -> tuple[str, str]:
    """Return the name, as `qualify` makes it, and the tag that something of the team is to have.

    Raises InvalidRequest, also when the text names another team.
    """
    whole, tag = parse_reference(text)
    namespace, slash, name = whole.rpartition("/")
    if slash and namespace != team:
        raise InvalidRequest(f"namespace '{namespace}' must match your team '{team}'")
    return qualify(name, team), tag or DEFAULT_TAG


def parse_team(text: str) -> str:
    """Return the name of a new team, which is also the namespace of its templates; raises InvalidRequest."""
    name = text.strip().lower()
    if not NAME.fullmatch(name) or len(name) > MAX_TEAM or name == RESERVED_NAMESPACE:
        raise InvalidRequest(f"'{text}' cannot be the name of a team: 1 to {MAX_TEAM} of a-z, 0-9, - and _")
    return name


def qualify(name: str, team: str) -> str:
    """A template's name as it is kept: with its team's namespace, which for the default team is left out."""
    return name if team == DEFAULT_TEAM else f"{team}/{name}"


def show_name(name: str) -> str:
    """A kept name with its namespace."""
    return name if "/" in name else f"{DEFAULT_TEAM}/{name}"


def _check(pattern: re.Pattern[str], part: str, what: str, text: str) -> None:
    if not pattern.fullmatch(part):
        raise InvalidRequest(f"invalid {what}: {text}")


def parse_sandbox_id(text: str) -> str:
    """Return the sandbox id in `text`, which older clients join with a client id by `-`; raises InvalidRequest."""
    sandbox_id, _, rest = text.partition("-")
    if not SANDBOX_ID.fullmatch(sandbox_id) or "-" in rest:
        raise InvalidRequest("Invalid sandbox ID")
    return sandbox_id
