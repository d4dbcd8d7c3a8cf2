"""One client cannot hold what belongs to all: its time, its connections and its bytes are bounded."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandlot_server.proxy.limits import Limits
from support.door import Connection, House, open_house, request, wait_for

STRICT = Limits(
    connections=3, connections_per_sandbox=1, head_s=0.5, first_byte_s=0.5, idle_s=0.5, api_body_s=0.5, linger_s=0.5
)


@pytest.fixture
async def strict() -> AsyncIterator[House]:
    with tempfile.TemporaryDirectory(prefix="door") as folder:
        async with open_house(Path(folder), limits=STRICT) as house:
            yield house


async def test_a_head_that_comes_too_slowly(strict: House) -> None:
    client = await strict.connect()
    await client.send(b"GET / HTTP/1.1\r\n")
    for _ in range(4):  # each byte in time, the head not
        await asyncio.sleep(0.2)
        client.writer.write(b"X: y\r\n")
    answer = await client.read_answer()
    assert answer.status == 408
    assert await client.read_end() == b""


async def test_connections_without_a_request_are_closed(strict: House) -> None:
    client, other = await strict.connect(), await strict.connect()
    assert (await other.ask(request())).status == 200
    async with asyncio.timeout(5):
        assert await client.read_end() == b""
        assert await other.read_end() == b""


async def test_an_answer_may_take_as_long_as_it_takes(strict: House) -> None:
    async def slow(connection: Connection) -> None:
        await connection.read_request()
        await asyncio.sleep(1.8)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    await strict.add_sandbox("one", slow)
    assert (await strict.ask(request(to="one"))).body == b"ok"


async def test_an_api_body_that_stalls(strict: House) -> None:
    client = await strict.connect()
    await client.send(request("/sandboxes", method="POST", fields="Content-Length: 10\r\n") + b"{")
    assert (await client.read_answer()).status == 408
    await wait_for(lambda: strict.api.lost == 1)


async def test_too_many_connections(strict: House) -> None:
    clients = [await strict.connect() for _ in range(3)]
    await wait_for(lambda: strict.door.stats.connections == 3)
    client = await strict.connect()
    answer = await client.read_answer()
    assert answer.status == 503
    assert await client.read_end() == b""
    for client in clients:
        await client.close()


async def test_too_many_requests_to_one_sandbox(strict: House) -> None:
    async def hold(connection: Connection) -> None:
        await connection.read_request()
        await connection.reader.readexactly(1)

    await strict.add_sandbox("one", hold)
    first, second = await strict.connect(), await strict.connect()
    await first.send(request(to="one"))
    await wait_for(lambda: strict.door.stats.active == 1)
    answer = await second.ask(request(to="one"))
    assert answer.status == 429
    assert json.loads(answer.body) == {
        "sandboxId": "one",
        "message": "The sandbox has too many concurrent incoming connections (limit: 1)",
        "connectionLimit": 1,
        "code": 429,
    }


async def test_a_client_that_asks_and_never_reads_holds_no_memory(house: House) -> None:
    await house.add_sandbox("one")
    client = await house.connect()
    ask = request("/" + "x" * 10_000, to="one")

    async def flood() -> None:
        while True:
            await client.send(ask)

    task = asyncio.create_task(flood())
    before = -1
    while before != house.door.stats.requests:
        before = house.door.stats.requests
        await asyncio.sleep(0.2)
    task.cancel()
    client.writer.transport.abort()
    assert house.door.stats.requests < 2_000  # what the kernel's buffers hold, and not what was sent since


async def test_idle_connections_to_services_are_closed_soon(house: House) -> None:
    await house.add_sandbox("one")
    web = await house.add_service("web")
    await house.ask(request(to="one", port=web.port))
    assert web.lost == 0
    await wait_for(lambda: web.lost == 1)


async def test_counters(house: House) -> None:
    await house.add_sandbox("one")
    client = await house.connect()
    await client.ask(request(method="POST", to="one", body=b"12345"))
    await client.ask(request(to="gone"))
    stats = house.door.stats
    assert (stats.connections, stats.requests, stats.active, stats.refused) == (1, 2, 0, 1)
    assert stats.bytes_in == 5
    assert (stats.statuses[2], stats.statuses[5]) == (1, 1)
    await client.close()
    await wait_for(lambda: stats.connections == 0)


async def test_the_access_log_is_told_of_each_request() -> None:
    seen: list[tuple[int, str]] = []
    with tempfile.TemporaryDirectory(prefix="door") as folder:
        async with open_house(
            Path(folder), access_log=lambda one: seen.append((one.reply.status, one.target.sandbox_id))
        ) as house:
            await house.add_sandbox("one")
            await house.ask(request(to="one"))
            await house.ask(request(to="gone"))
    assert seen == [(200, "one"), (502, "gone")]


async def test_a_client_whose_machine_vanished_is_noticed(house: House) -> None:
    """The system asks idle peers whether they live; accepted connections have this from their listener."""
    client = await house.connect()
    await client.ask(request())
    (connection,) = house.door._clients
    sock = connection.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
