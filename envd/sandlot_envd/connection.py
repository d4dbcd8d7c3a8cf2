"""One client connection: requests are parsed as they come and answered one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import httptools

from sandlot_envd.errors import AgentError, BadRequest
from sandlot_envd.http import REASONS, Body, BodyCut, Handler, Request, Response, Takeover, answer_error

MAX_HEAD = 64 * 1024
HEAD_S = 60
MAX_WAITING = 16


class HeadTooLarge(AgentError):
    """The request's head is over the limit."""

    status = 431


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive. The handler's task ends when the client goes away."""

    def __init__(self, handle: Handler, connections: set[Connection]) -> None:
        self._handle = handle
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._body: Body | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self._keep_alive: dict[Request, bool] = {}
        self._after_upgrade = b""
        self._failed = False

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade = data[upgrade.args[0] :]
            self.transport.pause_reading()
        except httptools.HttpParserCallbackError as error:
            self._refuse(error.__context__ if isinstance(error.__context__, AgentError) else BadRequest(str(error)))
        except httptools.HttpParserError as error:
            self._refuse(BadRequest(f"malformed request: {error}"))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        self._stop_head_timer()
        if self._body is not None:
            self._body.fail(BodyCut("the client went away"))
        self._resume(None)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        self._resume(None)

    def _resume(self, _: None) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # -- httptools' callbacks

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._head_timer = asyncio.get_running_loop().call_later(HEAD_S, self.transport.abort)

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            raise HeadTooLarge("the request's head is too large")

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        body = self._body = Body(self._set_reading)
        if self._headers.get("expect", "").lower() == "100-continue":
            body.on_first_read = self._announce
        target = self._url.decode("latin-1")
        request = Request(self._parser.get_method().decode(), target, self._headers, body)
        self._keep_alive[request] = self._parser.should_keep_alive()
        self._waiting.append(request)
        if len(self._waiting) > MAX_WAITING:
            raise BadRequest("too many requests before their answers")
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    def on_body(self, data: bytes) -> None:
        if self._body is not None:
            self._body.feed(data)

    def on_message_complete(self) -> None:
        if self._body is not None:
            self._body.end()

    # -- answering

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _set_reading(self, wanted: bool) -> None:
        if self.transport.is_closing():
            return
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _announce(self) -> None:
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, error: AgentError) -> None:
        """Answer a request that cannot be parsed, unless another one's answer is on its way, and close."""
        if self._failed:
            return
        self._failed = True
        if self._body is not None:
            self._body.fail(BodyCut(error.message))
        if self._task is None:
            response = answer_error(error)
            assert isinstance(response.body, bytes)
            self.transport.write(_head(response, False, len(response.body)) + response.body)
        self.transport.close()

    async def _serve(self) -> None:
        try:
            while self._waiting:
                request = self._waiting.popleft()
                response = await self._handle(request)
                if isinstance(response, Takeover):
                    self._hand_over(response)
                    return
                await self._send(request, response)
        except (ConnectionError, asyncio.CancelledError):
            self.transport.abort()
        finally:
            self._task = None

    def _hand_over(self, response: Takeover) -> None:
        self._connections.discard(self)
        self.transport.write(_head(response, True, None))
        protocol = response.adopt(self.transport, self._after_upgrade)
        self.transport.set_protocol(protocol)
        self.transport.resume_reading()

    async def _send(self, request: Request, response: Response) -> None:
        # An unread rest of the body would be taken for the next request.
        keep = self._keep_alive.pop(request) and request.body.ended
        if isinstance(response.body, bytes):
            head = _head(response, keep, len(response.body))
            self.transport.write(head if request.method == "HEAD" else head + response.body)
        else:
            await self._stream(request, response, response.body, keep)
        await self.drain()
        if not keep:
            self.transport.close()

    async def _stream(self, request: Request, response: Response, body: AsyncIterator[bytes], keep: bool) -> None:
        chunked = "Content-Length" not in response.headers
        self.transport.write(_head(response, keep, None))
        if request.method == "HEAD":
            return
        async for data in body:
            if chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            self.transport.write(data)
            await self.drain()
        if chunked:
            self.transport.write(b"0\r\n\r\n")

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written; raises ConnectionError when it is gone."""
        if self._drained is not None:
            await self._drained
        if self.transport.is_closing():
            raise ConnectionResetError("the client went away")


def _head(response: Response, keep_alive: bool, length: int | None) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    if response.status >= 200 and response.status not in (204, 304):
        if length is not None and "Content-Length" not in response.headers:
            lines.append(f"Content-Length: {length}")
        elif length is None and "Content-Length" not in response.headers:
            lines.append("Transfer-Encoding: chunked")
    if not keep_alive:
        lines.append("Connection: close")
    # File names may hold any byte; surrogates stand for those that are not UTF-8.
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
