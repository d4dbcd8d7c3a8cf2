"""An agent that runs nothing: it answers the calls that a server makes while a sandbox lives."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

import httptools

from sandlot_protocol.http import CONTROL_ROUTES, CONTROL_TOKEN_HEADER

METRICS = ("cpu_count", "cpu_used_pct", "mem_used", "mem_total", "mem_cache", "disk_used", "disk_total")
START = "/process.Process/Start"
FRAME_HEAD = struct.Struct(">BI")
END_OF_STREAM = 2
BACKLOG = 100
REASONS = {200: "OK", 204: "No Content", 401: "Unauthorized", 404: "Not Found"}


Decide = Callable[[list[str]], int]
"""Returns the exit code of a command line; what it raises ends the connection."""


def succeed(argv: list[str]) -> int:
    """Let every command end well."""
    return 0


class MemoryAgent:
    """One loopback HTTP server; remembers what it was told."""

    def __init__(self, control_token: str, decide: Decide = succeed) -> None:
        self.control_token = control_token
        self.inits: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.commands: list[list[str]] = []
        """The command lines that it was asked to run."""
        self._decide = decide
        self.port = 0
        self._socket: socket.socket | None = None
        self._arriving: set[asyncio.Task[Any]] = set()
        self._connections: set[_Connection] = set()
        self._thawed = asyncio.Event()
        self._thawed.set()

    async def start(self) -> None:
        """Listen on a port of 127.0.0.1 that the system chooses."""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._socket, self._accept, self._socket)

    def _accept(self, listening: socket.socket) -> None:
        """Take a connection. By hand: asyncio's own server loses one that comes in the moment in which it closes."""
        try:
            taken, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        taken.setblocking(False)
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(lambda: _Connection(self, self._connections), taken))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def stop(self) -> None:
        """End, connections included."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._arriving:
            await asyncio.wait(set(self._arriving))
        for connection in list(self._connections):
            connection.abort()

    def freeze(self) -> None:
        """Answer nothing until the thaw."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Answer again."""
        self._thawed.set()

    async def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body for a request, once the agent is not frozen."""
        await self._thawed.wait()
        self.calls.append(f"{method} {path}")
        if path in CONTROL_ROUTES and token != self.control_token:
            return 401, b'{"code":401,"message":"control token missing or wrong"}'
        if (method, path) == ("POST", "/init"):
            self.inits.append(json.loads(body or b"{}"))
            return 204, b""
        if (method, path) == ("GET", "/metrics"):
            return 200, json.dumps(dict.fromkeys(METRICS, 1)).encode()
        if (method, path) == ("POST", START):
            return 200, self._pretend_to_run(json.loads(body[FRAME_HEAD.size :])["process"])
        if (method, path) == ("POST", "/files"):
            return 200, b"[]"
        if (method, path) in {("GET", "/health"), ("POST", "/freeze"), ("POST", "/unfreeze")}:
            return 204, b""
        return 404, b'{"code":404,"message":"this agent runs nothing"}'

    def _pretend_to_run(self, process: dict[str, Any]) -> bytes:
        argv = [process["cmd"], *process["args"]]
        self.commands.append(argv)
        code = self._decide(argv)
        end = {"exitCode": code, "exited": True, "status": f"exit status {code}"}
        events: list[dict[str, Any]] = [{"start": {"pid": len(self.commands)}}, {"end": end}]
        return b"".join(_frame(0, {"event": event}) for event in events) + _frame(END_OF_STREAM, {})


def _frame(flags: int, message: dict[str, Any]) -> bytes:
    data = json.dumps(message).encode()
    return FRAME_HEAD.pack(flags, len(data)) + data


class _Connection(asyncio.Protocol):
    """One client: requests are answered one after the other."""

    def __init__(self, agent: MemoryAgent, peers: set[_Connection]) -> None:
        self._agent = agent
        self._peers = peers
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._queue: asyncio.Queue[tuple[str, str, str, bytes]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._url, self._token, self._body = b"", "", b""

    def abort(self) -> None:
        """End the connection without a goodbye."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by isinstance: uvloop's transports are of a class of their own.
        own = self._transport = cast("asyncio.Transport", transport)
        self._peers.add(self)
        self._task = asyncio.ensure_future(self._serve(own))

    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.decode("latin-1").lower() == CONTROL_TOKEN_HEADER:
            self._token = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        path = self._url.decode("latin-1").partition("?")[0]
        self._queue.put_nowait((self._parser.get_method().decode(), path, self._token, self._body))
        self._begin()

    async def _serve(self, transport: asyncio.Transport) -> None:
        while True:
            try:
                status, body = await self._agent.answer(*await self._queue.get())
            except ConnectionError:
                return self.abort()
            length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n{length}\r\n"
            transport.write(head.encode() + body)
