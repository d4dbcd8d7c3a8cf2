"""Peers that want to make the door work or remember more than their request is worth."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from pathlib import Path

import pytest

from sandlot_server.proxy.limits import Limits
from sandlot_server.proxy.tls import LocalTls
from support.door import DOMAIN, Connection, House, open_house, request, wait_for


async def test_a_head_that_comes_byte_by_byte_is_not_read_anew_for_each(house: House) -> None:
    client = await house.connect()
    await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 60_000)
    await asyncio.sleep(0.05)
    began = time.process_time()
    for _ in range(100):
        client.writer.write(b"x")
        await asyncio.sleep(0.001)
    assert time.process_time() - began < 0.1  # 130 ms and more when each byte costs a look at all of the head
    assert (await client.ask(b"\r\n\r\n")).status == 200


@pytest.mark.parametrize("split", [b"\r", b"\r\n", b"\r\n\r"])
async def test_a_head_whose_end_comes_in_parts(house: House, split: bytes) -> None:
    client = await house.connect()
    await client.send(b"GET /x HTTP/1.1\r\nHost: localhost" + split)
    await asyncio.sleep(0.02)
    answer = await client.ask(b"\r\n\r\n"[len(split) :] + request("/y"))
    assert answer.body == b"api GET /x "
    assert (await client.read_answer()).body == b"api GET /y "


async def test_a_break_that_is_split_is_still_seen_to_be_bare(house: House) -> None:
    client = await house.connect()
    await client.send(b"GET /x HTTP/1.1\r\nHost: localhost\r")
    await asyncio.sleep(0.02)
    assert (await client.ask(b"X: y\r\n")).status == 400


@pytest.mark.parametrize(
    ("host", "fields", "message"),
    [
        ("a" * 255, "", b"Invalid host"),
        ("a" * 60_000, "", b"Invalid host"),
        (f"80-{'a' * 65}.{DOMAIN}", "", b"Invalid sandbox ID"),
        ("localhost", f"E2b-Sandbox-Id: {'a' * 60_000}\r\nE2b-Sandbox-Port: 80\r\n", b"Invalid sandbox ID"),
        ("localhost", f"E2b-Sandbox-Id: one\r\nE2b-Sandbox-Port: {'0' * 60_000}80\r\n", b"Invalid sandbox port"),
    ],
)
async def test_names_that_are_too_long_to_be_any_are_not_remembered(
    house: House, host: str, fields: str, message: bytes
) -> None:
    answer = await house.ask(request(host=host, fields=fields))
    assert (answer.status, answer.body.strip()) == (400, message)


async def test_a_body_that_stalls_after_its_answer() -> None:
    async def hasty(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await connection.reader.read()

    with tempfile.TemporaryDirectory(prefix="door") as folder:
        async with open_house(Path(folder), limits=Limits(api_body_s=0.3)) as house:
            house.api.handler = hasty
            await house.add_sandbox("one", hasty)
            for to in (None, "one"):
                client = await house.connect()
                await client.send(request(method="POST", to=to, fields="Content-Length: 1000\r\n") + b"x")
                assert (await client.read_answer()).status == 400
                async with asyncio.timeout(5):
                    assert await client.read_end() == b""
            assert house.door.stats.active == 0


async def test_a_switch_of_protocols_behind_a_full_connection_holds_back_the_service(house: House) -> None:
    """A client that does not read and a service of its own must not fill the memory that all share."""
    pushed = 0

    async def flood(connection: Connection) -> None:
        nonlocal pushed
        await connection.read_head()
        interim = b"HTTP/1.1 103 Early Hints\r\nX: %b\r\n\r\n" % (b"x" * 50_000)
        connection.writer.write(interim * 63)
        await connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        for pushed in range(64):  # noqa: B007 - the test looks at it
            await connection.send(b"x" * 1_000_000)

    await house.add_sandbox("one")
    service = await house.add_service("service", flood)
    with _small_socket() as client:
        await _upgrade(client, house, service.port)
        await asyncio.sleep(1)
        assert pushed < 32  # the system's own buffers take some


async def test_an_upgraded_connection_whose_end_is_not_read_is_cut() -> None:
    size = 20_000_000

    async def push(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        await connection.send(b"x" * size)

    with tempfile.TemporaryDirectory(prefix="door") as folder:
        limits = Limits(linger_s=0.2, buffer_bytes=2 * size)  # so that the end is read behind what the client leaves
        async with open_house(Path(folder), limits=limits) as house:
            await house.add_sandbox("one")
            service = await house.add_service("service", push)
            with _small_socket() as client:
                await _upgrade(client, house, service.port)
                await wait_for(lambda: house.door.stats.bytes_out >= size)
                client.shutdown(socket.SHUT_WR)
                await wait_for(lambda: house.door.stats.tunnels == 0)
                await asyncio.sleep(0.5)
                assert await _read_all(client) < size


async def test_a_tls_handshake_that_does_not_come(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="door") as folder:
        async with open_house(Path(folder), limits=Limits(handshake_s=0.3)) as house:
            tls = LocalTls(tmp_path, DOMAIN)
            port = await house.door.start_tls(tls.context, 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()


def _small_socket() -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    return client


async def _upgrade(client: socket.socket, house: House, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", house.port))
    await loop.sock_sendall(client, request(to="one", port=port, fields="Connection: Upgrade\r\nUpgrade: x\r\n"))


async def _read_all(client: socket.socket) -> int:
    size = 0
    try:
        while data := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
            size += len(data)
    except ConnectionError:
        pass
    return size
