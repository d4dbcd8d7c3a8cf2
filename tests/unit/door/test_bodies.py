"""Bodies pass both ways as they come, and an end is never mistaken for a cut, nor a cut for an end."""

from __future__ import annotations

import asyncio
import os

import pytest

from support.door import Connection, House, request, wait_for

CHUNKED = "Transfer-Encoding: chunked\r\n"


def answering(response: bytes, *, close: bool = False) -> object:
    async def handler(connection: Connection) -> None:
        while True:
            await connection.read_request()
            await connection.send(response)
            if close:
                return

    return handler


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
async def test_upload_and_download_of_any_size(house: House, size: int) -> None:
    service = await house.add_sandbox("one")
    data = os.urandom(size)
    client = await house.connect()
    for framed in (
        request("/p", method="POST", to="one", body=data),
        request("/p", method="POST", to="one", fields=CHUNKED)
        + chunks(*(data[at : at + 50_001] for at in range(0, size, 50_001))),
    ):
        answer = await client.ask(framed)
        assert answer.body == b"one POST /p " + data
    assert [seen.body for seen in service.requests] == [data, data]
    assert service.connections == 1


async def test_chunked_response_with_extensions_and_trailers(house: House) -> None:
    raw = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
    await house.add_sandbox("one", answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + raw))
    client = await house.connect()
    for _ in range(2):
        await client.send(request(to="one"))
        assert (await client.read_head()).headers["transfer-encoding"] == "chunked"
        assert await client.reader.readexactly(len(raw)) == raw


async def test_request_trailers_pass_unless_they_could_be_taken_for_the_head(house: House) -> None:
    service = await house.add_sandbox("one")
    post = request(method="POST", to="one", fields=CHUNKED)
    answer = await house.ask(post + b"1\r\na\r\n0\r\nX-Sum: 5\r\n\r\n")
    assert answer.body.endswith(b"a")
    for name in (b"X-Sandlot-Control", b"x-access-token", b"Content-Length", b"Host"):
        client = await house.connect()
        answer = await client.ask(post + b"1\r\na\r\n0\r\n" + name + b": 1\r\n\r\n")
        assert answer.status == 400
        assert answer.headers["connection"] == "close"
    assert len(service.requests) <= 5


async def test_a_body_that_ends_with_the_connection_is_chunked_for_the_client(house: House) -> None:
    await house.add_sandbox("one", answering(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nhello", close=True))
    client = await house.connect()
    for _ in range(2):
        answer = await client.ask(request(to="one"))
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.headers["transfer-encoding"] == "chunked"


async def test_old_clients_get_bodies_without_chunks(house: House) -> None:
    old = request(to="one").replace(b"HTTP/1.1", b"HTTP/1.0")
    await house.add_sandbox(
        "one", answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"a", b"b"))
    )
    answer = await house.ask(old)
    assert answer.body == b"ab"
    assert answer.headers["connection"] == "close"
    assert "transfer-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: x\r\n\r\n"),
        ("GET", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    ],
)
async def test_responses_without_body_leave_the_connection_usable(house: House, method: str, response: bytes) -> None:
    service = await house.add_sandbox("one", answering(response))
    client = await house.connect()
    for _ in range(3):
        answer = await client.ask(request(method=method, to="one"), "HEAD")
        assert answer.status == int(response[9:12])
    assert service.connections == 1


async def test_continue_is_passed_on_before_the_body_is_sent(house: House) -> None:
    async def handler(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        body = await connection.reader.readexactly(4)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)
        await connection.read_head()

    await house.add_sandbox("one", handler)
    client = await house.connect()
    await client.send(request(method="POST", to="one", fields="Content-Length: 4\r\nExpect: 100-continue\r\n"))
    assert (await client.read_head()).status == 103
    assert (await client.read_head()).status == 100
    assert (await client.ask(b"body")).body == b"body"


async def test_a_response_may_come_before_the_request_has_ended(house: House) -> None:
    async def handler(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
        assert await connection.reader.readexactly(10) == b"0123456789"
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")

    service = await house.add_sandbox("one", handler)
    client = await house.connect()
    answer = await client.ask(request(method="POST", to="one", fields="Content-Length: 10\r\n"))
    assert answer.body == b"early"
    answer = await client.ask(b"0123456789" + request(to="one"))
    assert answer.body == b"next"
    assert service.connections == 1


async def test_a_refusal_reaches_a_client_that_is_still_sending(house: House) -> None:
    async def handler(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")

    await house.add_sandbox("one", handler)
    for to in ("one", "gone"):
        client = await house.connect()
        client.writer.write(request(method="POST", to=to, fields="Content-Length: 30000000\r\n"))
        client.writer.write(b"x" * 30_000_000)  # not drained: a client that writes all before it reads
        answer = await client.read_answer()
        assert answer.status == (413 if to == "one" else 502)
        assert answer.headers["connection"] == "close"
        assert await client.reader.read() == b""


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n",
    ],
)
async def test_a_response_cut_off_is_cut_off_for_the_client(house: House, start: bytes) -> None:
    await house.add_sandbox("one", answering(start, close=True))
    client = await house.connect()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.ask(request(to="one"))
    assert await client.read_end() == b""
    assert house.door.stats.active == 0


async def test_a_reset_ends_no_body_that_ends_with_its_connection(house: House) -> None:
    async def handler(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await connection.reader.readexactly(1)

    await house.add_sandbox("one", handler)
    client = await house.connect()
    await client.send(request(to="one"))
    assert (await client.read_head()).status == 200
    assert await client.reader.readexactly(8) == b"3\r\nabc\r\n"
    house.door.cut("one")
    assert await client.read_end() == b""


async def test_a_client_that_goes_away_takes_its_upstream_along(house: House) -> None:
    async def stream(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await connection.reader.readexactly(1)

    service = await house.add_sandbox("one", stream)
    for fields in ("", "Content-Length: 5\r\n"):  # in the middle of the response, and of the request
        client = await house.connect()
        await client.send(request(method="POST", to="one", fields=fields))
        await client.read_head()
        lost = service.lost
        await client.close()
        await wait_for(lambda lost=lost: service.lost == lost + 1)  # type: ignore[misc]
    assert house.door.stats.active == 0


async def test_the_client_waits_for_a_slow_upstream_and_the_reverse(house: House) -> None:
    gate = asyncio.Event()

    async def handler(connection: Connection) -> None:
        await connection.read_head()
        await gate.wait()
        left = 20_000_000
        while left:
            left -= len(await connection.reader.read(min(left, 1 << 20)))
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
        for _ in range(200):
            await connection.send(b"y" * 100_000)

    await house.add_sandbox("one", handler)
    client = await house.connect()
    client.writer.write(request(method="POST", to="one", fields="Content-Length: 20000000\r\n") + b"x" * 20_000_000)
    stats = house.door.stats
    await settle(lambda: stats.bytes_in)
    assert stats.bytes_in < 10_000_000  # what the kernel's buffers and ours hold
    gate.set()
    await wait_for(lambda: stats.bytes_in == 20_000_000)
    await settle(lambda: stats.bytes_out)
    assert stats.bytes_out < 19_000_000
    answer = await client.read_answer()
    assert len(answer.body) == 20_000_000


async def settle(value: object) -> None:
    """Wait until a counter stands still."""
    assert callable(value)
    before = -1
    while before != value():
        before = value()
        await asyncio.sleep(0.1)


async def test_a_request_is_asked_again_when_an_idle_connection_died(house: House) -> None:
    async def once(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await connection.read_request()  # and close without an answer

    service = await house.add_sandbox("one", once)
    client = await house.connect()
    assert (await client.ask(request(to="one"))).body == b"ok"
    assert (await client.ask(request(to="one"))).body == b"ok"
    assert service.connections == 2
    # What changes something is not repeated: nobody knows whether it was done.
    answer = await client.ask(request(method="POST", to="one", body=b"x"))
    assert answer.status == 502
    assert service.connections == 2


async def test_bytes_after_a_response_never_become_the_next_one(house: House) -> None:
    async def handler(connection: Connection) -> None:
        await connection.read_request()
        evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + evil)
        await connection.read_request()

    service = await house.add_sandbox("one", handler)
    client = await house.connect()
    for _ in range(2):
        assert (await client.ask(request(to="one"))).body == b"ok"
    assert service.connections == 2


@pytest.mark.parametrize(
    "response",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: %s\r\n" % (b"b" * 70_000) + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    ],
)
async def test_a_service_that_speaks_no_http_is_named_so(house: House, response: bytes) -> None:
    await house.add_sandbox("one", answering(response))
    answer = await house.ask(request(to="one"))
    assert answer.status == 502
    assert b"did not answer in valid HTTP" in answer.body
