"""Names of templates: `[namespace/]name[:tag]`, in lower case."""

from __future__ import annotations

import re

from sandlot_server.errors import InvalidRequest
from sandlot_server.models import DEFAULT_TAG

NAMESPACE = "sandlot"
"""The namespace of all templates made here; names may be given with it or without."""
NAME = re.compile(r"[a-z0-9_-]+")
TAG = re.compile(r"[a-z0-9_.-]+")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
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


def parse_own_name(text: str) -> tuple[str, str]:
    """Return the name, without the namespace, and the tag that something of ours is to have; raises InvalidRequest."""
    whole, tag = parse_reference(text)
    namespace, slash, name = whole.rpartition("/")
    if slash and namespace != NAMESPACE:
        raise InvalidRequest(f"namespace '{namespace}' must match your team '{NAMESPACE}'")
    return name, tag or DEFAULT_TAG


def _check(pattern: re.Pattern[str], part: str, what: str, text: str) -> None:
    if not pattern.fullmatch(part):
        raise InvalidRequest(f"invalid {what}: {text}")


def parse_sandbox_id(text: str) -> str:
    """Return the sandbox id in `text`, which older clients join with a client id by `-`; raises InvalidRequest."""
    sandbox_id, _, rest = text.partition("-")
    if not SANDBOX_ID.fullmatch(sandbox_id) or "-" in rest:
        raise InvalidRequest("Invalid sandbox ID")
    return sandbox_id
