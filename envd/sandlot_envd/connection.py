"""One client connection: requests are parsed as they come and answered one after the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable

import httptools

from sandlot_envd.errors import AgentError, BadRequest
from sandlot_envd.http import REASONS, Body, BodyCut, FileSlice, Handler, Request, Response, Takeover, answer_error

MAX_HEAD = 64 * 1024
HEAD_S = 60.0
"""Seconds that a request's head may take to arrive."""

IDLE_S = 640.0
"""Seconds that a connection may wait for its next request; longer than any client keeps one in its pool."""

LINGER_S = 2.0
"""Seconds in which the rest of a refused body is read away, so that the client sees the answer and not a reset."""


LINE_BREAKS = str.maketrans("\r\n\0", "   ")
"""What no header's value may hold; file names may, and they get into headers."""


class HeadTooLarge(AgentError):
    """The request's head is over the limit."""

    status = 431


class Exchange:
    """A request and how its answer has to be framed."""

    __slots__ = ("keep_alive", "request", "speaks_chunked")

    def __init__(self, request: Request, keep_alive: bool, speaks_chunked: bool) -> None:
        self.request = request
        self.keep_alive = keep_alive
        self.speaks_chunked = speaks_chunked


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive. The handler's task ends when the client goes away."""

    def __init__(
        self, handle: Handler, connections: set[Connection], report: Callable[[Request, Exception], None]
    ) -> None:
        self._handle = handle
        self._report = report
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Exchange | AgentError] = deque()
        self._holds: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self._body: Body | None = None
        self._in_head = False
        self._deaf = False
        self._after_upgrade: bytes | None = None

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connections.add(self)
        self._limit(IDLE_S)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._await_takeover(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            self._refuse(error.__context__ if isinstance(error.__context__, AgentError) else BadRequest(str(error)))
        except httptools.HttpParserError as error:
            self._refuse(BadRequest(f"malformed request: {error}"))
        if self._in_head and self._timer is None:
            self._limit(HEAD_S)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        self._limit(None)
        if self._body is not None:
            self._body.fail(BodyCut("the client went away"))
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # -- httptools' callbacks

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._in_head = True
        self._limit(None)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(b": \r\n"))
        if not self._in_head:
            return  # a trailer: too late to mean anything
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            raise HeadTooLarge("the request's head is too large")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._limit(None)
        body = self._body = Body(self._take_body)
        if self._headers.get("expect", "").lower() == "100-continue":
            body.on_first_read = self._announce
        target = self._url.decode("utf-8", "surrogateescape")
        request = Request(self._parser.get_method().decode(), target, self._headers, body)
        modern = self._parser.get_http_version() == "1.1"
        self._enqueue(Exchange(request, self._parser.should_keep_alive(), modern))

    def on_body(self, data: bytes) -> None:
        assert self._body is not None
        self._body.feed(data)

    def on_message_complete(self) -> None:
        assert self._body is not None
        self._body.end()

    # -- reading

    def _limit(self, seconds: float | None) -> None:
        """Give the client so many seconds for what comes next; None takes the limit away."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self.transport.abort)

    def _hold(self, reason: str, wanted: bool) -> None:
        """Read from the client only while there is no reason against it."""
        (self._holds.add if wanted else self._holds.discard)(reason)
        if self.transport.is_closing():
            return
        if self._holds:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _take_body(self, wanted: bool) -> None:
        self._hold("body", not wanted)

    def _announce(self) -> None:
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _enqueue(self, item: Exchange | AgentError) -> None:
        self._waiting.append(item)
        if self._task is None:
            self._task = self._loop.create_task(self._serve())
        else:
            # Pipelined: what the client sends further stays in the kernel until its turn.
            self._hold("pipeline", True)

    def _refuse(self, error: AgentError) -> None:
        """Nothing that follows can be understood. Requests before it are still answered."""
        self._deaf = True
        self._in_head = False
        self._limit(None)
        if self._body is not None and not self._body.ended:
            self._body.fail(error)
        else:
            self._enqueue(error)

    def _await_takeover(self, rest: bytes) -> None:
        """The client asked for an upgrade: the parser takes nothing after this request for HTTP."""
        self._after_upgrade = rest
        self._hold("upgrade", True)

    # -- answering

    async def _serve(self) -> None:
        try:
            while self._waiting:
                item = self._waiting.popleft()
                self._hold("pipeline", bool(self._waiting))
                if not await self._answer(item):
                    return
            self._limit(IDLE_S)
        except (ConnectionError, asyncio.CancelledError):
            self.transport.abort()
        finally:
            self._task = None

    async def _answer(self, item: Exchange | AgentError) -> bool:
        """Answer one request; returns whether another may follow."""
        if isinstance(item, AgentError):
            self._write(answer_error(item), keep_alive=False, with_body=True)
            self._close_gently()
            return False
        response = await self._handle(item.request)
        if isinstance(response, Takeover):
            self._hand_over(response)
            return False
        body = item.request.body
        keep = self._may_keep_alive(item, response)
        try:
            await self._send(item, response, keep)
        except ConnectionError:
            raise
        except Exception as error:
            # The answer had begun; only a cut tells the client that it is not whole.
            self._report(item.request, error)
            raise ConnectionAbortedError from error
        if keep and (body.ended or await self._discard(body)):
            return True
        self._close_gently()
        return False

    def _may_keep_alive(self, exchange: Exchange, response: Response) -> bool:
        body = exchange.request.body
        has_end = exchange.speaks_chunked or isinstance(response.body, bytes | FileSlice)
        # A client that waits for "100 Continue" may send its body or not: nobody can tell what comes next.
        is_clear = body.ended or not (body.failed or body.on_first_read)
        return exchange.keep_alive and has_end and is_clear and self._after_upgrade is None

    async def _discard(self, body: Body) -> bool:
        """Read away what the handler left unread; returns whether the end of it came in time."""
        with contextlib.suppress(AgentError, TimeoutError):
            async with asyncio.timeout(LINGER_S):
                async for _ in body:
                    pass
                return True
        return False

    def _close_gently(self) -> None:
        """Close so that the client can still read the answer, whatever it is sending at the moment."""
        if not self._deaf and (self._body is None or self._body.ended):
            self.transport.close()
            return
        self._deaf = True
        self._holds.clear()
        self.transport.resume_reading()
        with contextlib.suppress(OSError, RuntimeError):
            self.transport.write_eof()
        self._limit(LINGER_S)

    def _hand_over(self, response: Takeover) -> None:
        self._connections.discard(self)
        self._limit(None)
        self.transport.write(_format_head(response, "", True))
        protocol = response.adopt(self.transport, self._after_upgrade or b"")
        self.transport.set_protocol(protocol)
        self.transport.resume_reading()

    async def _send(self, exchange: Exchange, response: Response, keep: bool) -> None:
        with_body = exchange.request.method != "HEAD"
        body = response.body
        try:
            if isinstance(body, bytes):
                self._write(response, keep, with_body)
            elif isinstance(body, FileSlice):
                await self._send_file(response, body, keep, with_body)
            else:
                await self._stream(exchange, response, body, keep)
        finally:
            if (close := getattr(body, "aclose", None)) is not None:
                await close()
            if response.on_done is not None:
                response.on_done()
        await self.drain()

    def _write(self, response: Response, keep_alive: bool, with_body: bool) -> None:
        assert isinstance(response.body, bytes)
        head = _format_head(response, f"Content-Length: {len(response.body)}", keep_alive)
        self.transport.write(head + response.body if with_body else head)

    async def _send_file(self, response: Response, body: FileSlice, keep: bool, with_body: bool) -> None:
        self.transport.write(_format_head(response, f"Content-Length: {body.length}", keep))
        if not with_body:
            return
        with open(body.fd, "rb", buffering=0, closefd=False) as file:
            sent = await self._loop.sendfile(self.transport, file, body.start, body.length)
        if sent < body.length:
            raise ConnectionAbortedError(f"{sent} bytes were sent where {body.length} were announced")

    async def _stream(self, exchange: Exchange, response: Response, body: AsyncIterator[bytes], keep: bool) -> None:
        chunked = exchange.speaks_chunked
        self.transport.write(_format_head(response, "Transfer-Encoding: chunked" if chunked else "", keep))
        if exchange.request.method == "HEAD":
            return
        async for data in body:
            if data:
                self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                await self.drain()
        if chunked:
            self.transport.write(b"0\r\n\r\n")

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written; raises ConnectionError when it is gone."""
        if self._drained is not None:
            await self._drained
        if self.transport.is_closing():
            raise ConnectionResetError("the client went away")


def _format_head(response: Response, framing: str, keep_alive: bool) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Unknown')}"]
    lines += [f"{name}: {value.translate(LINE_BREAKS)}" for name, value in response.headers.items()]
    if framing and response.status not in (101, 204, 304):
        lines.append(framing)
    if not keep_alive:
        lines.append("Connection: close")
    # File names may hold any byte; surrogates stand for those that are not UTF-8.
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
