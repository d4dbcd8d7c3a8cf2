"""The servers of door_bench.py, each run as a process: `python door_servers.py direct|splice|door [backend port]`."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import httptools
import uvloop

from sandlot_server.proxy.directory import Endpoint, WakeRequest
from sandlot_server.proxy.door import FrontDoor

SANDBOX = "ibench0000000000000ab"
SMALL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"ok": true}\n'
BLOCK = b"x" * (256 * 1024)


class Backend(asyncio.Protocol):
    """The cheapest server that can be: finds the end of a head, counts a body."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.left, self.sending, self.data = transport, 0, 0, b""

    def data_received(self, data: bytes) -> None:
        while data:
            if self.left:
                used = min(self.left, len(data))
                self.left, data = self.left - used, data[used:]
                if not self.left:
                    self.transport.write(SMALL)
                continue
            self.data += data
            head, found, data = self.data.partition(b"\r\n\r\n")
            if not found:
                return
            self.data = b""
            self.answer(head)

    def answer(self, head: bytes) -> None:
        if head.startswith(b"POST"):
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length is not None
            self.left = int(length[1])
        elif head.startswith(b"GET /big/"):
            self.sending = int(head[9 : head.index(b" HTTP")])
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.sending)
            self.resume_writing()
        else:
            self.transport.write(SMALL)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        while self.sending and not self.paused:
            block = BLOCK[: self.sending]
            self.sending -= len(block)
            self.transport.write(block)


class SpliceUpstream(asyncio.Protocol):
    """Upstream half of the least that frames every request: httptools on both sides, one fixed upstream."""

    def __init__(self, client: SpliceClient) -> None:
        self.client = client

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        self.client.complete()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        self.client.transport.write(data)

    def pause_writing(self) -> None:
        self.client.transport.pause_reading()

    def resume_writing(self) -> None:
        self.client.transport.resume_reading()


class SpliceClient(asyncio.Protocol):
    """Client half: knows where each request begins and ends, and reads the sandbox's id."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.upstream: SpliceUpstream | None = None
        self.waiting: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.headers: dict[bytes, bytes] = {}
        self.task = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, self.upstream = await loop.create_connection(lambda: SpliceUpstream(self), "127.0.0.1", self.port)
        for data in self.waiting:
            self.upstream.transport.write(data)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.target = (self.headers.get(b"e2b-sandbox-id"), self.headers.get(b"e2b-sandbox-port"))

    def on_message_complete(self) -> None:
        self.headers = {}

    def complete(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        assert self.upstream is not None
        self.upstream.parser = httptools.HttpResponseParser(self.upstream)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if self.upstream is None:
            self.waiting.append(data)
        else:
            self.upstream.transport.write(data)

    def pause_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.upstream is not None:
            self.upstream.transport.close()


class OneSandbox:
    """A directory of one sandbox."""

    def __init__(self, port: int) -> None:
        self.endpoint = Endpoint(SANDBOX, "127.0.0.1", port, "control", "token", None)

    def find(self, sandbox_id: str) -> Endpoint | None:
        return self.endpoint if sandbox_id == SANDBOX else None

    def find_only(self) -> Endpoint | None:
        return self.endpoint

    async def wake(self, sandbox_id: str, request: WakeRequest) -> Endpoint | None:
        return None

    def find_by_signature(self, *_: object) -> Endpoint | None:
        return None


async def serve(kind: str, backend: int) -> None:
    """Run one of the servers; prints its port."""
    loop = asyncio.get_running_loop()
    if kind == "door":
        port = await FrontDoor(OneSandbox(backend), api=Path("/nowhere"), domain="e2b.localhost").start("127.0.0.1", 0)
    else:
        factory = Backend if kind == "direct" else lambda: SpliceClient(backend)
        server = await loop.create_server(factory, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    await loop.create_future()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
