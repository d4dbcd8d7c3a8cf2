"""Lists of sandboxes: filters, order and pages. Pure functions over rows."""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import unquote, unquote_plus

from sandlot_server.errors import InvalidRequest
from sandlot_server.models import Sandbox, SandboxState
from sandlot_server.store.rows import encode_time

MAX_PAGE = 100
ALL_STATES = frozenset({"running", "paused"})
PAUSED_STATES = (SandboxState.PAUSED, SandboxState.PAUSING, SandboxState.RESUMING)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last entry of the page before: its time and its id."""

    moment: datetime
    key: str


@dataclass(frozen=True, slots=True)
class Query:
    """What to list."""

    states: frozenset[str] = ALL_STATES
    metadata: Mapping[str, str] = field(default_factory=dict)
    template_id: str | None = None
    started_after: datetime | None = None
    ascending: bool = False
    limit: int = MAX_PAGE
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list; `next_token` is None on the last one."""

    sandboxes: list[Sandbox]
    running: int
    next_token: str | None


def public_state(sandbox: Sandbox) -> str:
    """The state as clients know it: running or paused."""
    return "paused" if sandbox.state in PAUSED_STATES else "running"


def list_page(sandboxes: Iterable[Sandbox], query: Query) -> Page:
    """Return the page of `sandboxes` that `query` asks for, newest first unless it says otherwise."""
    matching = [sandbox for sandbox in sandboxes if _matches(sandbox, query)]
    running = sum(public_state(sandbox) == "running" for sandbox in matching)
    after = matching if query.cursor is None else [s for s in matching if _is_after(s, query.cursor, query.ascending)]
    # One more than fits tells whether there is a next page.
    found = heapq.nsmallest(query.limit + 1, after, key=lambda sandbox: _position(sandbox, query.ascending))
    page = found[: query.limit]
    more = len(found) > query.limit
    return Page(page, running, _make_token(page[-1], query.ascending) if more else None)


def _matches(sandbox: Sandbox, query: Query) -> bool:
    return (
        public_state(sandbox) in query.states
        and (query.template_id is None or sandbox.spec.template_id == query.template_id)
        and (query.started_after is None or sandbox.started_at >= query.started_after)
        and query.metadata.items() <= sandbox.spec.metadata.items()
    )


def _position(sandbox: Sandbox, ascending: bool) -> tuple[int, str]:
    moment = encode_time(sandbox.started_at)
    return (moment if ascending else -moment, sandbox.id)


def _is_after(sandbox: Sandbox, cursor: Cursor, ascending: bool) -> bool:
    moment = encode_time(cursor.moment)
    return _position(sandbox, ascending) > (moment if ascending else -moment, cursor.key)


def _make_token(last: Sandbox, ascending: bool) -> str:
    return encode_token(Cursor(last.started_at, last.id), ascending)


def encode_token(last: Cursor, ascending: bool) -> str:
    """The token that continues a list after `last`."""
    text = f"{last.moment.astimezone(UTC).isoformat()}__{last.key}{'__asc' if ascending else ''}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def decode_token(token: str, ascending: bool) -> Cursor:
    """The cursor in a token; raises InvalidRequest when it is none, or belongs to a list in another order."""
    try:
        parts = base64.b64decode(token, altchars=b"-_", validate=True).decode().split("__")
        if parts[2:] == (["asc"] if ascending else []):
            return Cursor(datetime.fromisoformat(parts[0]).astimezone(UTC), parts[1])
    except (binascii.Error, ValueError, IndexError) as error:
        raise InvalidRequest("Invalid next token") from error
    raise InvalidRequest("Invalid next token")


def parse_metadata(text: str) -> dict[str, str]:
    """The pairs in a `metadata` query value, which the SDKs encode twice; raises InvalidRequest."""
    pairs = {}
    for part in unquote(text).split("&"):
        key, equals, value = part.partition("=")
        if not equals or "=" in value:
            raise InvalidRequest("Error parsing metadata")
        pairs[unquote_plus(key)] = unquote_plus(value)
    return pairs
