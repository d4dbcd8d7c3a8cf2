"""A front door with real sockets on both sides: services that work frame by frame, and a client that sends bytes."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from sandlot_server.proxy.directory import Endpoint, WakeRequest
from sandlot_server.proxy.door import FrontDoor

DOMAIN = "e2b.localhost"


@dataclass
class Seen:
    """One request as a service got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    raw_head: bytes

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) <= 1, values
        return values[0] if values else None


@dataclass
class Connection:
    """One connection to a service."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    service: Service

    async def read_head(self) -> Seen:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = raw[:-4].decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        headers = [(name, value.strip()) for name, _, value in (item.partition(":") for item in fields)]
        seen = Seen(method, target, headers, b"", raw)
        self.service.requests.append(seen)
        return seen

    async def read_request(self) -> Seen:
        seen = await self.read_head()
        if seen.header("transfer-encoding"):
            seen.body = await self.read_chunks()
        elif length := seen.header("content-length"):
            seen.body = await self.reader.readexactly(int(length))
        return seen

    async def read_chunks(self) -> bytes:
        body = b""
        while True:
            size = int((await self.reader.readline()).partition(b";")[0], 16)
            if size == 0:
                while await self.reader.readline() != b"\r\n":
                    pass
                return body
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Handler = Callable[[Connection], Awaitable[None]]


@dataclass
class Service:
    """A server whose every connection is a script."""

    name: str
    handler: Handler
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    lost: int = 0
    """Connections that ended while the script still wanted something of them."""
    port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def listen_unix(self, path: Path) -> None:
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self.handler(Connection(reader, writer, self))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.lost += 1
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def echo(connection: Connection) -> None:
    """Answer every request with its service's name, method, target and body."""
    while True:
        seen = await connection.read_request()
        text = f"{connection.service.name} {seen.method} {seen.target} ".encode() + seen.body
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text)
        await connection.send(head if seen.method == "HEAD" else head + text)


class Sandboxes:
    """A directory in memory."""

    def __init__(self) -> None:
        self.running: dict[str, Endpoint] = {}
        self.waking: Callable[[str, WakeRequest], Awaitable[Endpoint | None]] | None = None
        self.signatures: dict[tuple[str, str, str, int | None, str], str] = {}

    def find(self, sandbox_id: str) -> Endpoint | None:
        return self.running.get(sandbox_id)

    def find_only(self) -> Endpoint | None:
        return next(iter(self.running.values())) if len(self.running) == 1 else None

    async def wake(self, sandbox_id: str, request: WakeRequest) -> Endpoint | None:
        return None if self.waking is None else await self.waking(sandbox_id, request)

    def find_by_signature(
        self, path: str, operation: str, username: str, expiration: int | None, signature: str
    ) -> Endpoint | None:
        sandbox_id = self.signatures.get((path, operation, username, expiration, signature))
        return None if sandbox_id is None else self.running.get(sandbox_id)


@dataclass
class Answer:
    """One response as a client got it."""

    status: int
    headers: dict[str, str]
    body: bytes
    interim: list[int] = field(default_factory=list)


class Client:
    """Sends bytes as they are and reads responses strictly."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_head(self) -> Answer:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = raw[:-4].decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", line)
        assert match is not None, line
        headers: dict[str, str] = {}
        for item in fields:
            name, _, value = item.partition(":")
            assert name.lower() not in headers, name
            headers[name.lower()] = value.strip()
        return Answer(int(match[1]), headers, b"")

    async def read_answer(self, method: str = "GET") -> Answer:
        interim = []
        answer = await self.read_head()
        while answer.status < 200 and answer.status != 101:
            interim.append(answer.status)
            answer = await self.read_head()
        answer.interim = interim
        if method == "HEAD" or answer.status in (101, 204, 304):
            return answer
        if answer.headers.get("transfer-encoding") == "chunked":
            answer.body = await self._read_chunks()
        elif "content-length" in answer.headers:
            answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
        else:
            answer.body = await self.reader.read()
        return answer

    async def _read_chunks(self) -> bytes:
        body = b""
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).partition(b";")[0], 16)
            if size == 0:
                while await self.reader.readuntil(b"\r\n") != b"\r\n":
                    pass
                return body
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"

    async def ask(self, data: bytes, method: str = "GET") -> Answer:
        await self.send(data)
        return await self.read_answer(method)

    async def read_end(self) -> bytes:
        """Return what comes until the connection ends; a reset is an end as well."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := await self.reader.read(65536):
                data += piece
        return data

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class House:
    """A front door, its directory, an API and services."""

    door: FrontDoor
    sandboxes: Sandboxes
    api: Service
    port: int
    _services: list[Service] = field(default_factory=list)
    _clients: list[Client] = field(default_factory=list)

    async def add_sandbox(self, sandbox_id: str, handler: Handler = echo, **options: object) -> Service:
        service = Service(sandbox_id, handler)
        await service.listen()
        self._services.append(service)
        values: dict[str, object] = {
            "sandbox_id": sandbox_id, "address": "127.0.0.1", "agent_port": service.port,
            "control_token": "control", "envd_token": None, "traffic_token": None,
        }  # fmt: skip
        self.sandboxes.running[sandbox_id] = Endpoint(**(values | options))  # type: ignore[arg-type]
        return service

    async def add_service(self, name: str, handler: Handler = echo, host: str = "127.0.0.1") -> Service:
        service = Service(name, handler)
        await service.listen(host)
        self._services.append(service)
        return service

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20))
        self._clients.append(client)
        return client

    async def ask(self, data: bytes, method: str = "GET") -> Answer:
        client = await self.connect()
        answer = await client.ask(data, method)
        await client.close()
        return answer

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        await self.door.close()
        for service in (self.api, *self._services):
            await service.close()


@contextlib.asynccontextmanager
async def open_house(folder: Path, **options: object) -> AsyncIterator[House]:
    """Start a front door with an API and no sandboxes."""
    sandboxes, api = Sandboxes(), Service("api", echo)
    await api.listen_unix(folder / "api.sock")
    door = FrontDoor(sandboxes, api=folder / "api.sock", domain=DOMAIN, **options)  # type: ignore[arg-type]
    house = House(door, sandboxes, api, await door.start("127.0.0.1", 0))
    try:
        yield house
    finally:
        await house.close()


def request(
    target: str = "/",
    *,
    method: str = "GET",
    to: str | None = None,
    port: int = 49983,
    host: str = "127.0.0.1:3000",
    fields: str = "",
    body: bytes | None = None,
) -> bytes:
    """Return a request's bytes, `to` a sandbox when one is given."""
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"
    if to is not None:
        head += f"E2b-Sandbox-Id: {to}\r\nE2b-Sandbox-Port: {port}\r\n"
    if body is not None:
        head += f"Content-Length: {len(body)}\r\n"
    return (head + fields + "\r\n").encode("latin-1") + (body or b"")


async def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
