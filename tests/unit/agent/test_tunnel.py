"""Raw bytes to ports on the sandbox's own loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from support.agent import CONTROL_TOKEN, Agent, Answer, Wire

UPGRADE = {"Connection": "Upgrade", "Upgrade": "sandlot-tunnel", "X-Sandlot-Control": CONTROL_TOKEN}
Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def service(serve: Served, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A service on the loopback that the agent shares with the tests."""
    server = await asyncio.start_server(serve, host)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"bye")
    writer.close()


async def open_tunnel(agent: Agent, wire: Wire, port: object, early: bytes = b"") -> Answer:
    await wire.send(agent.head("GET", f"/tunnel?port={port}", UPGRADE) + early)
    return await wire.read_answer()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_loopbacks_are_reached(agent: Agent, host: str) -> None:
    async with service(echo, host) as port, agent.connect() as wire:
        answer = await open_tunnel(agent, wire, port, b"early ")
        assert (answer.status, answer.headers["upgrade"]) == (101, "sandlot-tunnel")
        await wire.send(b"late")
        assert await wire.reader.readexactly(10) == b"early late"
        wire.writer.write_eof()
        assert await wire.reader.read() == b"bye"


async def test_a_service_that_ends_ends_the_tunnel(agent: Agent) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with service(greet) as port, agent.connect() as wire:
        await open_tunnel(agent, wire, port)
        assert await wire.reader.read() == b"hello"


async def test_a_client_that_leaves_ends_the_connection_inside(agent: Agent) -> None:
    left = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        left.set()
        writer.close()

    async with service(wait) as port, agent.connect() as wire:
        await open_tunnel(agent, wire, port)
        wire.abort()
        await asyncio.wait_for(left.wait(), 10)


async def test_much_data_both_ways_at_the_readers_pace(agent: Agent) -> None:
    data = os.urandom(20_000_000)
    async with service(echo) as port, agent.connect() as wire:
        await open_tunnel(agent, wire, port)

        async def send() -> None:
            await wire.send(data)
            wire.writer.write_eof()

        sending = asyncio.create_task(send())
        await asyncio.sleep(0.2)
        assert await wire.reader.readexactly(len(data)) == data
        assert await wire.reader.read() == b"bye"
        await sending


async def test_a_closed_port(agent: Agent) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        async with agent.connect() as wire:
            answer = await open_tunnel(agent, wire, reserved.getsockname()[1])
    assert (answer.status, answer.json["message"]) == (502, "port is not open")


async def test_what_is_no_tunnel(agent: Agent) -> None:
    for port in ("", "0", "65536", "x", "-1", "%D9%A1", "1" * 5000):
        async with agent.connect() as wire:
            assert (await open_tunnel(agent, wire, port)).status == 400
    token = {"X-Sandlot-Control": CONTROL_TOKEN}
    for headers in ({}, {"Upgrade": "sandlot-tunnel"}, {"Connection": "Upgrade", "Upgrade": "websocket"}):
        assert (await agent.request("GET", "/tunnel?port=80", headers=token | headers)).status == 400
    without = {"Connection": "Upgrade", "Upgrade": "sandlot-tunnel"}
    assert (await agent.request("GET", "/tunnel?port=80", headers=without)).status == 401
