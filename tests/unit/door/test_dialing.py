"""Ports of a sandbox: closed ones, late ones, those bound to its loopback, and those that speak TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator

import pytest
import trustme

from support.door import Connection, House, Service, echo, request

SANDBOX_IP = "127.0.0.2"
"""Stands for the sandbox's address: its services on 127.0.0.1 do not answer there."""


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


async def agent_with_tunnel(connection: Connection) -> None:
    """An agent's /tunnel, and an echo for everything else."""
    seen = await connection.read_head()
    assert seen.target.startswith("/tunnel?port=")
    assert seen.header("x-sandlot-control") == "control"
    assert seen.header("upgrade") == "sandlot-tunnel"
    port = int(seen.target.partition("=")[2])
    for host in ("127.0.0.1", "::1"):
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port)
            break
    else:
        body = b'{"message":"port is not open"}'
        await connection.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return
    await connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: sandlot-tunnel\r\n\r\n")
    try:
        await asyncio.gather(pump(connection.reader, writer), pump(reader, connection.writer))
    finally:
        writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@pytest.fixture
async def agent(house: House) -> AsyncIterator[Service]:
    agent = Service("one", agent_with_tunnel)
    await agent.listen(SANDBOX_IP)
    await house.add_sandbox("one", address=SANDBOX_IP, agent_port=agent.port)
    yield agent
    await agent.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_service_on_the_sandboxs_own_loopback_is_reached(house: House, agent: Service, host: str) -> None:
    web = await house.add_service("web", echo, host)
    client = await house.connect()
    for _ in range(2):
        answer = await client.ask(request("/x", method="POST", to="one", port=web.port, body=b"y" * 1_000_000))
        assert answer.body == b"web POST /x " + b"y" * 1_000_000
    assert agent.connections >= 1


async def test_a_service_on_the_sandboxs_address_is_reached_directly(house: House, agent: Service) -> None:
    web = await house.add_service("web", echo, SANDBOX_IP)
    assert (await house.ask(request(to="one", port=web.port))).body == b"web GET / "
    assert agent.connections == 0


async def test_a_closed_port_gets_a_second_to_open(house: House, agent: Service) -> None:
    port = free_port("127.0.0.1")
    start = time.monotonic()
    answer = await house.ask(request(to="one", port=port))
    assert 0.9 < time.monotonic() - start < 4
    assert answer.status == 502
    assert json.loads(answer.body) == {
        "sandboxId": "one",
        "message": "The sandbox is running but port is not open",
        "port": port,
        "code": 502,
    }
    assert agent.connections == 5


async def test_a_service_that_starts_late_is_waited_for(house: House, agent: Service) -> None:
    port = free_port("127.0.0.1")
    client = await house.connect()
    await client.send(request(to="one", port=port))
    await asyncio.sleep(0.25)
    web = Service("late", echo)
    await web.listen("127.0.0.1", port)
    assert (await client.read_answer()).body == b"late GET / "
    await web.close()


async def test_a_sandbox_that_is_gone_meanwhile_was_not_found(house: House, agent: Service) -> None:
    client = await house.connect()
    await client.send(request(to="one", port=free_port("127.0.0.1")))
    await asyncio.sleep(0.2)
    del house.sandboxes.running["one"]
    assert json.loads((await client.read_answer()).body)["message"] == "The sandbox was not found"


@pytest.mark.parametrize("host", [SANDBOX_IP, "127.0.0.1"])
async def test_services_that_speak_tls_are_taken_with_any_certificate(house: House, agent: Service, host: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("elsewhere.example").configure_cert(context)
    web = Service("secure", echo)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await echo(Connection(reader, writer, web))
        writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    await house.add_sandbox("two", address=SANDBOX_IP, agent_port=agent.port, https_ports=frozenset({port}))
    client = await house.connect()
    for _ in range(2):
        answer = await client.ask(request("/x", method="POST", to="two", port=port, body=b"y" * 300_000))
        assert answer.body == b"secure POST /x " + b"y" * 300_000
    server.close()


async def test_connections_to_services_are_kept_only_for_requests_that_may_be_repeated(house: House) -> None:
    await house.add_sandbox("one")
    web = await house.add_service("web")
    client = await house.connect()
    for _ in range(3):
        assert (await client.ask(request(to="one", port=web.port))).status == 200
    assert web.connections == 1
    for _ in range(3):
        assert (await client.ask(request(method="POST", to="one", port=web.port, body=b"x"))).status == 200
    assert web.connections == 4
