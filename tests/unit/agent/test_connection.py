"""Time limits and back-pressure of a connection, in process: the real ones take minutes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandlot_envd import connection, http
from sandlot_envd.connection import Connection
from sandlot_envd.http import Handler, Request, Response, Takeover
from support.agent import Wire

CASES = int(os.environ.get("FUZZ_CASES", "200"))


@contextlib.asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[Wire]:
    connections: set[Connection] = set()
    reports: list[Exception] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(handle, connections, lambda _, error: reports.append(error)), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        server.close()
        for one in list(connections):
            one.transport.abort()
        async with asyncio.timeout(5):
            while connections:
                await asyncio.sleep(0)
        await server.wait_closed()


async def echo(request: Request) -> Response:
    return Response(200, await request.read(1 << 26))


async def test_a_slow_head_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.1)
    async with serving(echo) as wire:
        await wire.send(b"GET / HTTP/1.1\r\n")
        for _ in range(3):
            await asyncio.sleep(0.03)
            await wire.send(b"X: y\r\n")
        assert await asyncio.wait_for(wire.is_closed(), 5)


async def test_an_idle_connection_is_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.1)
    async with serving(echo) as wire:
        assert await asyncio.wait_for(wire.is_closed(), 5)


async def test_a_body_that_stalls_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_IDLE_S", 0.1)
    async with serving(echo) as wire:
        await wire.send(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
        assert await asyncio.wait_for(wire.is_closed(), 5)


async def test_a_body_waits_in_the_kernel_while_nobody_reads_it() -> None:
    go = asyncio.Event()
    bodies = []

    async def dawdle(request: Request) -> Response:
        bodies.append(request.body)
        await go.wait()
        return Response(200, b"%d" % len(await request.read(1 << 30)))

    size = 64 << 20
    async with serving(dawdle) as wire:
        await wire.send(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
        sending = asyncio.create_task(wire.send(b"x" * size))
        await asyncio.sleep(0.3)
        assert not sending.done()
        assert sum(len(chunk) for chunk in bodies[0]._chunks) < 1 << 20
        go.set()
        await sending
        assert (await wire.read_answer()).body == b"%d" % size


async def test_an_answer_waits_for_a_client_that_does_not_read() -> None:
    produced = 0
    closed = asyncio.Event()

    async def produce() -> AsyncIterator[bytes]:
        nonlocal produced
        try:
            while True:
                produced += 65536
                yield b"x" * 65536
        finally:
            closed.set()

    async def handle(request: Request) -> Response:
        return Response(200, produce())

    async with serving(handle) as wire:
        sock = wire.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await wire.send(b"GET / HTTP/1.1\r\n\r\n")
        before = -1
        while before != produced:
            before = produced
            await asyncio.sleep(0.2)
        assert produced < 32 << 20
        wire.abort()
        await asyncio.wait_for(closed.wait(), 5)


async def test_the_handler_ends_with_its_client() -> None:
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def wait(request: Request) -> Response:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with serving(wait) as wire:
        await wire.send(b"GET / HTTP/1.1\r\n\r\n")
        await started.wait()
        wire.abort()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_defect_in_a_streamed_answer_cuts_it() -> None:
    async def produce() -> AsyncIterator[bytes]:
        yield b"begin"
        raise KeyError("defect")

    async def handle(request: Request) -> Response:
        return Response(200, produce())

    async with serving(handle) as wire:
        await wire.send(b"GET / HTTP/1.1\r\n\r\n")
        await wire.read_head()
        rest = b""
        with contextlib.suppress(ConnectionError):
            rest = await wire.reader.read()
        assert not rest.endswith(b"0\r\n\r\n")


async def test_no_value_breaks_out_of_its_header() -> None:
    async def handle(request: Request) -> Response:
        return Response(200, b"", {"X-Name": "a\r\nX-Evil: 1\n\0b"})

    async with serving(handle) as wire:
        await wire.send(b"GET / HTTP/1.1\r\n\r\n")
        assert "x-evil" not in (await wire.read_answer()).headers


async def test_a_takeover_gets_what_came_with_the_request() -> None:
    class Upper(asyncio.Protocol):
        def __init__(self, transport: asyncio.Transport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data.upper())

    def adopt(transport: asyncio.Transport, received: bytes) -> asyncio.BaseProtocol:
        transport.write(received.upper())
        return Upper(transport)

    async def handle(request: Request) -> Response:
        return Takeover(adopt, "upper")

    async with serving(handle) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: upper\r\n\r\nearly")
        assert (await wire.read_answer()).status == 101
        assert await wire.reader.readexactly(5) == b"EARLY"
        await wire.send(b"late")
        assert await wire.reader.readexactly(4) == b"LATE"


TOKENS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n", b"POST /x?y=%zz HTTP/1.1\r\n", b"HEAD / HTTP/1.0\r\n", b"Host: a\r\n", b"\r\n",
        b"Content-Length: 3\r\n", b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
        b"Connection: upgrade\r\n", b"Upgrade: x\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
        b"3\r\nabc\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"abc", b"\0", b"\xff" * 10, b" folded\r\n", b":\r\n",
    ]
)  # fmt: skip


async def attack(port: int, parts: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(OSError):  # the agent may have closed by then: reset, or not connected any more
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
        assert await asyncio.wait_for(Wire(reader, writer).is_closed(), 10)
    finally:
        writer.transport.abort()


def test_fuzz_requests_are_answered_or_refused_but_never_hang() -> None:
    connections: set[Connection] = set()
    defects: list[Exception] = []

    async def listen() -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            lambda: Connection(echo, connections, lambda _, error: defects.append(error)), "127.0.0.1", 0
        )

    with asyncio.Runner() as runner:
        server = runner.run(listen())
        port = server.sockets[0].getsockname()[1]

        @settings(max_examples=CASES, deadline=None)
        @given(parts=st.lists(st.one_of(TOKENS, st.binary(max_size=40)), max_size=12), split=st.booleans())
        def generate(parts: list[bytes], split: bool) -> None:
            runner.run(attack(port, parts if split else [b"".join(parts)]))

        try:
            generate()
        finally:
            server.close()
            runner.run(asyncio.sleep(0.05))
        assert not connections
        assert not defects
