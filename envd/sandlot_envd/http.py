"""Requests and responses: what the agent's handlers see of HTTP."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from sandlot_envd.errors import AgentError, BadRequest, ResourceExhausted

HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024
BODY_IDLE_S = 120.0
"""A client that sends nothing of an unfinished body for so long is taken for gone."""

REASONS = {
    101: "Switching Protocols", 200: "OK", 204: "No Content", 206: "Partial Content", 304: "Not Modified",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict", 412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type", 416: "Range Not Satisfiable", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 499: "Client Closed Request",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 507: "Insufficient Storage",
}  # fmt: skip


class BodyCut(ConnectionError):
    """The client went away before the end of its request's body."""


class Body:
    """A request's body as it arrives; the connection is not read while too much of it waits.

    `idle_s` bounds the silence in the middle of it; None where a client may pause as long as it likes.
    """

    __slots__ = ("_chunks", "_ended", "_error", "_flow", "_size", "_waiter", "idle_s", "on_first_read")

    def __init__(self, flow: Callable[[bool], None]) -> None:
        self.idle_s: float | None = BODY_IDLE_S
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._flow = flow
        self.on_first_read: Callable[[], None] | None = None

    def feed(self, data: bytes) -> None:
        """Take what the connection received."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER:
            self._flow(False)
        self._wake()

    def end(self) -> None:
        """The whole body has arrived."""
        self._ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Nothing more will arrive; whoever reads gets `error`."""
        if not self._ended:
            self._error = error
            self._wake()

    @property
    def ended(self) -> bool:
        """Whether the whole body has arrived, read or not."""
        return self._ended

    @property
    def failed(self) -> bool:
        """Whether it can never arrive as a whole."""
        return self._error is not None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self.idle_s):
                await self._waiter
        except TimeoutError as error:
            raise BodyCut("the client stopped sending in the middle of a request") from error

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        if self.on_first_read is not None:
            announce, self.on_first_read = self.on_first_read, None
            announce()
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            await self._wait()
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        if self._size < LOW_WATER:
            self._flow(True)
        return chunk


class Request:
    """One request. `headers` have lower-case names; `path` is decoded, `target` is as sent."""

    __slots__ = ("body", "headers", "method", "path", "query", "target")

    def __init__(self, method: str, target: str, headers: dict[str, str], body: Body) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        path, _, query = target.partition("?")
        self.path = _decode(path)
        self.query = parse_query(query)

    async def read(self, limit: int) -> bytes:
        """Return the whole body; raises ResourceExhausted beyond `limit` bytes, BodyCut when it is cut off."""
        chunks, size = [], 0
        async for chunk in self.body:
            size += len(chunk)
            if size > limit:
                raise ResourceExhausted(f"the request is larger than {limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    async def read_json(self, limit: int = 1 << 20) -> dict[str, object]:
        """Return the body as a JSON object, {} when it is empty; raises BadRequest for anything else."""
        raw = await self.read(limit)
        if not raw.strip():
            return {}
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"the body is not valid JSON: {error}") from error
        if not isinstance(value, dict):
            raise BadRequest("the body is not a JSON object")
        return value


def _decode(text: str) -> str:
    """Percent-decode; bytes that are not UTF-8 stay what the filesystem would call them.

    By hand: `urllib.parse` would cost every sandbox a third of a megabyte for this one function.
    """
    if "%" not in text:
        return text
    first, *rest = text.encode("utf-8", "surrogateescape").split(b"%")
    return (first + b"".join(map(_decode_escape, rest))).decode("utf-8", "surrogateescape")


def _decode_escape(part: bytes) -> bytes:
    """Decode what followed a `%`; what is no escape stays as it was."""
    code = part[:2]
    try:
        # int() alone would take signs, blanks and underscores for parts of a number.
        return bytes([int(code, 16)]) + part[2:] if len(code) == 2 and code.isalnum() else b"%" + part
    except ValueError:
        return b"%" + part


def parse_query(query: str) -> dict[str, str]:
    """Return the first value of each name, decoded; `+` is a space, as both SDKs rely on."""
    values: dict[str, str] = {}
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.replace("+", " ").partition("=")
            values.setdefault(_decode(name), _decode(value))
    return values


class FileSlice:
    """A body that is `length` bytes of an open file from `start`; the kernel copies it."""

    __slots__ = ("fd", "length", "start")

    def __init__(self, fd: int, start: int, length: int) -> None:
        self.fd = fd
        self.start = start
        self.length = length


class Response:
    """What a handler answers. An iterator's body goes out chunked.

    `on_done` is called once the answer is sent or cannot be, whichever comes.
    """

    __slots__ = ("body", "headers", "on_done", "status")

    def __init__(
        self,
        status: int,
        body: bytes | AsyncIterator[bytes] | FileSlice = b"",
        headers: dict[str, str] | None = None,
        on_done: Callable[[], None] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.on_done = on_done


class Takeover(Response):
    """A 101 answer: from then on the connection belongs to the protocol that `adopt` returns.

    `adopt` gets the transport and what the client sent after its request.
    """

    __slots__ = ("adopt",)

    def __init__(self, adopt: Callable[[asyncio.Transport, bytes], asyncio.BaseProtocol], protocol: str) -> None:
        super().__init__(101, headers={"Connection": "Upgrade", "Upgrade": protocol})
        self.adopt = adopt


Handler = Callable[[Request], Awaitable[Response]]
Routes = dict[tuple[str, str], Handler]
"""Handlers by method and decoded path."""


def answer_json(value: object, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def answer_error(error: AgentError) -> Response:
    """Return an error in E2B's shape for plain HTTP routes."""
    return answer_json({"code": error.status, "message": error.message}, error.status)
