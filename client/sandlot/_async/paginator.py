"""Lists that come in pages."""

from __future__ import annotations

from typing import Unpack, cast

from sandlot._async.api import Answer, Api
from sandlot._http import quote
from sandlot._wire import parse_info, parse_list, parse_snapshot
from sandlot.config import ApiParams, ConnectionConfig
from sandlot.exceptions import InvalidArgumentException, SandboxException
from sandlot.models import SandboxInfo, SandboxListOrder, SandboxQuery, SnapshotInfo


class _Paginator:
    """Where in a list we are."""

    def __init__(self, limit: int | None, next_token: str | None, opts: ApiParams) -> None:
        self.limit = limit
        self._opts = opts
        self._next_token = next_token
        self._has_next = True

    @property
    def has_next(self) -> bool:
        """Whether there is a further page."""
        return self._has_next

    @property
    def next_token(self) -> str | None:
        """Where the next page begins; another paginator can start there."""
        return self._next_token

    async def _fetch(self, path: str, query: dict[str, str | None], opts: ApiParams) -> Answer:
        if not self._has_next:
            raise SandboxException("No more items to fetch: look at has_next first")
        given = {name: value for name, value in opts.items() if value is not None}
        config = ConnectionConfig(**cast("ApiParams", {**self._opts, **given}))
        query |= {"limit": str(self.limit) if self.limit else None, "nextToken": self._next_token}
        answer = await Api(config).call("GET", path, query={name: value for name, value in query.items() if value})
        self._next_token = answer.headers.get("x-next-token") or None
        self._has_next = self._next_token is not None
        return answer


class AsyncSandboxPaginator(_Paginator):
    """Pages of sandboxes: while `has_next`, ask for `next_items()`."""

    def __init__(
        self,
        query: SandboxQuery | None = None,
        limit: int | None = None,
        next_token: str | None = None,
        order: SandboxListOrder | None = None,
        **opts: Unpack[ApiParams],
    ) -> None:
        if order not in (None, "asc", "desc"):
            raise InvalidArgumentException(f"order must be 'asc' or 'desc', not {order!r}")
        super().__init__(limit, next_token, opts)
        self.query = query
        self.order = order

    async def next_items(self, **opts: Unpack[ApiParams]) -> list[SandboxInfo]:
        """Return the next page. Raises SandboxException when there is none."""
        query = {**encode_filters(self.query or SandboxQuery()), "order": self.order}
        answer = await self._fetch("/v2/sandboxes", query, opts)
        return answer.parse(parse_list(parse_info), "a list of sandboxes")


class AsyncSnapshotPaginator(_Paginator):
    """Pages of snapshots: while `has_next`, ask for `next_items()`."""

    def __init__(
        self,
        sandbox_id: str | None = None,
        limit: int | None = None,
        next_token: str | None = None,
        name: str | None = None,
        **opts: Unpack[ApiParams],
    ) -> None:
        super().__init__(limit, next_token, opts)
        self.sandbox_id = sandbox_id
        self.name = name

    async def next_items(self, **opts: Unpack[ApiParams]) -> list[SnapshotInfo]:
        """Return the next page. Raises SandboxException when there is none."""
        answer = await self._fetch("/snapshots", {"sandboxID": self.sandbox_id, "name": self.name}, opts)
        return answer.parse(parse_list(parse_snapshot), "a list of snapshots")


def encode_filters(query: SandboxQuery) -> dict[str, str | None]:
    """Return the query parameters of a list; metadata is encoded twice, as the API reads it."""
    pairs = [f"{quote(quote(key, '/'))}={quote(quote(value, '/'))}" for key, value in (query.metadata or {}).items()]
    started = query.started_after
    return {
        "metadata": "&".join(pairs),
        "state": ",".join(str(state) for state in query.state or []),
        "startedAfter": started.astimezone().isoformat() if started else None,
        "template": query.template,
    }
