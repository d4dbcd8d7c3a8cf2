"""A server that answers as it is told, byte for byte, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

KEY = "e2b_" + "0" * 40
SANDBOX = {
    "sandboxID": "isandbox",
    "templateID": "base",
    "clientID": "local",
    "envdVersion": "0.6.13",
    "envdAccessToken": "token",
    "domain": None,
}

TURNS = 5


@dataclass
class Request:
    """One request, read to its end."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def json(self) -> Any:
        """The body of a unary call, or the first message of a streaming one."""
        return json.loads(self.body[5:] if self.body[:1] == b"\0" else self.body)


@dataclass
class Exchange:
    """A request and the way to answer it."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    stopping: asyncio.Event
    close: bool = False


Answer = Callable[[Exchange], Awaitable[None]]


def frame(message: Any, flags: int = 0) -> bytes:
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return bytes([flags]) + len(payload).to_bytes(4, "big") + payload


END = frame({}, 2)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def end_error(code: str, message: str) -> bytes:
    return frame({"error": {"code": code, "message": message}}, 2)


def reply(status: int, content: Any = None, **headers: str) -> Answer:
    """A whole response; `content` is JSON unless it is bytes."""
    body = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} Status", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if status != 204:
        lines.append(f"Content-Length: {len(body)}")
    return raw(("\r\n".join(lines) + "\r\n\r\n").encode() + body)


def raw(data: bytes, close: bool = False) -> Answer:
    """These bytes, then the connection's end if `close`."""

    async def answer(exchange: Exchange) -> None:
        exchange.writer.write(data)
        await exchange.writer.drain()
        exchange.close = close

    return answer


def cut() -> Answer:
    """No response: the connection is reset."""

    async def answer(exchange: Exchange) -> None:
        exchange.writer.transport.abort()
        exchange.close = True

    return answer


def silence() -> Answer:
    """No response, ever."""

    async def answer(exchange: Exchange) -> None:
        await exchange.stopping.wait()
        exchange.close = True

    return answer


def stream(*frames: Any, then: Answer | None = None, status: int = 200) -> Answer:
    """A Connect stream: dicts are messages, bytes are sent as they are. `then` replaces the proper end."""

    async def answer(exchange: Exchange) -> None:
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n"
        exchange.writer.write(head.encode())
        for part in frames:
            exchange.writer.write(chunk(part if isinstance(part, bytes) else frame(part)))
            await exchange.writer.drain()
        if then is not None:
            await then(exchange)  # sees the connection in the middle of a chunked body
        else:
            exchange.writer.write(b"0\r\n\r\n")
            await exchange.writer.drain()

    return answer


async def swallow(exchange: Exchange) -> None:
    """Read an upload and throw it away; for `on_head`."""
    left = 1
    while left:
        left = int(await exchange.reader.readline(), 16)
        rest = left + 2
        while rest:
            rest -= len(await exchange.reader.read(min(rest, 65536)))
    await reply(200, [{"name": "a", "path": "/a"}])(exchange)


@dataclass
class FakeServer:
    """Listens on 127.0.0.1. `on(method, path, answers…)` scripts a route; its last answer is given again and again."""

    port: int = 0
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._script: dict[tuple[str, str], list[Answer]] = defaultdict(list)
        self.on_head: dict[str, Answer] = {}  # answered before the body is read, and then no further
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    @property
    def url(self) -> str:
        return f"https://sandlot.e2b.localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    @property
    def opts(self) -> dict[str, Any]:
        """Options that point the client here."""
        return {"api_url": self.url, "api_key": KEY}

    def on(self, method: str, path: str, *answers: Answer) -> Self:
        self._script[method, path] = list(answers)
        return self

    def on_rpc(self, method: str, *answers: Answer) -> Self:
        return self.on("POST", f"/{method}", *answers)

    def last(self, path: str) -> Request:
        return [request for request in self.requests if request.path == path][-1]

    def count(self, path: str) -> int:
        return sum(request.path == path for request in self.requests)

    def __enter__(self) -> Self:
        self.on("POST", "/v2/sandboxes", reply(201, SANDBOX)).on("GET", "/health", reply(204))
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        self._handlers: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()
        # A connection accepted just now becomes a handler some turns of the loop later, one that is aborted needs a
        # turn to be closed, and one in the middle of its TLS handshake is known to the loop alone.
        for _ in range(TURNS):
            for task in list(self._handlers):
                task.cancel()
            await asyncio.gather(*self._handlers, return_exceptions=True)
        for _ in range(5):
            await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next rounds
            for transport in list(self._loop._transports.values()):  # type: ignore[attr-defined]
                transport.abort()
            await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        number = self.connections
        try:
            while request := await self._read(reader, number):
                self.requests.append(request)
                exchange = Exchange(request, reader, writer, self._stopping)
                await self._answer(exchange)
                if exchange.close:
                    break
                if request.path in self.on_head:
                    await self._stopping.wait()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._handlers.discard(task)
            writer.transport.abort()

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.request.path in self.on_head:
            await self.on_head[exchange.request.path](exchange)
            return
        script = self._script[exchange.request.method, exchange.request.path]
        if not script:
            script = [reply(404, {"code": 404, "message": f"no answer for {exchange.request.target}"})]
        await (script.pop(0) if len(script) > 1 else script[0])(exchange)

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Request | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        if target.partition("?")[0] in self.on_head:
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = await self._read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, target, headers, body, connection)

    @staticmethod
    async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readline()
        return body
