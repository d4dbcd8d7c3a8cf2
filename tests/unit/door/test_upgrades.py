"""After a switch of protocols bytes pass unread, both ways, until both sides have ended or the sandbox is cut."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from support.door import Connection, House, request, wait_for

UPGRADE = "Connection: Upgrade\r\nUpgrade: raw\r\n"
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"


async def raw_echo(connection: Connection) -> None:
    seen = await connection.read_head()
    assert seen.header("upgrade") == "raw"
    assert seen.header("connection") == "Upgrade"
    await connection.send(SWITCH + b"hello ")
    while data := await connection.reader.read(65536):
        await connection.send(data)
    await connection.send(b" end")


async def test_websocket_echo_with_large_and_many_messages(house: House) -> None:
    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    await house.add_sandbox("one")
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        uri = f"ws://{port}-one.e2b.localhost/path"
        async with connect(uri, host="127.0.0.1", port=house.port, max_size=None, compression=None) as socket:
            for message in ("text", b"\0\xff", b"x" * 5_000_000):
                await socket.send(message)
                assert await socket.recv() == message
            assert house.door.stats.tunnels == 1
            await asyncio.gather(*(socket.send(str(number)) for number in range(100)))
            assert [await socket.recv() for _ in range(100)] == [str(number) for number in range(100)]
    await wait_for(lambda: house.door.stats.tunnels == 0)


async def test_a_websocket_dies_with_its_sandbox(house: House) -> None:
    async def wait(socket: ServerConnection) -> None:
        await socket.wait_closed()

    await house.add_sandbox("one")
    async with serve(wait, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        uri = f"ws://{port}-one.e2b.localhost/"
        async with connect(uri, host="127.0.0.1", port=house.port) as socket:
            assert house.door.cut("one") == 1
            with pytest.raises(ConnectionClosed):
                await socket.recv()
    await wait_for(lambda: house.door.stats.tunnels == 0)


async def test_bytes_sent_with_the_request_and_half_closed_connections(house: House) -> None:
    web = await house.add_service("web", raw_echo)
    await house.add_sandbox("one")
    client = await house.connect()
    await client.send(request(to="one", port=web.port, fields=UPGRADE) + b"early ")
    assert (await client.read_head()).status == 101
    await client.send(b"late")
    client.writer.write_eof()
    assert await client.reader.read() == b"hello early late end"


async def test_a_declined_upgrade_is_an_ordinary_answer(house: House) -> None:
    web = await house.add_service("web")
    await house.add_sandbox("one")
    client = await house.connect()
    answer = await client.ask(request(to="one", port=web.port, fields=UPGRADE))
    assert answer.body == b"web GET / "
    assert (await client.ask(request(to="one"))).body == b"one GET / "


@pytest.mark.parametrize("fields", [H2C, UPGRADE])
async def test_what_must_not_become_opaque(house: House, fields: str) -> None:
    """HTTP/2 would carry requests that nobody checks; the agent's only upgrade is the control plane's."""
    service = await house.add_sandbox("one")
    web = await house.add_service("web")
    ports = [49983, web.port] if "h2c" in fields else [49983]
    for port in ports:
        assert (await house.ask(request("/x", to="one", port=port, fields=fields))).status == 200
    for seen in service.requests + web.requests:
        assert seen.header("upgrade") is None
        assert seen.header("connection") is None
        assert seen.header("http2-settings") is None


async def test_a_slow_reader_of_an_upgraded_connection_holds_back_the_sender(house: House) -> None:
    async def flood(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(SWITCH)
        for _ in range(300):
            await connection.send(b"y" * 100_000)

    web = await house.add_service("web", flood)
    await house.add_sandbox("one")
    client = await house.connect()
    await client.send(request(to="one", port=web.port, fields=UPGRADE))
    await client.read_head()
    before = -1
    while before != house.door.stats.bytes_out:
        before = house.door.stats.bytes_out
        await asyncio.sleep(0.1)
    assert before < 29_000_000
    assert len(await client.reader.read(-1)) == 30_000_000


async def test_when_one_side_is_gone_so_is_the_other(house: House) -> None:
    async def hold(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(SWITCH)
        await connection.reader.readexactly(1)

    web = await house.add_service("web", hold)
    await house.add_sandbox("one")
    client = await house.connect()
    await client.send(request(to="one", port=web.port, fields=UPGRADE))
    await client.read_head()
    client.writer.transport.abort()
    await wait_for(lambda: web.lost == 1)

    client = await house.connect()
    await client.send(request(to="one", port=web.port, fields=UPGRADE))
    await client.read_head()
    await web.close()
    assert await client.read_end() == b""
