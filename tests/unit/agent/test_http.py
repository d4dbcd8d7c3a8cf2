"""The agent's HTTP server, byte by byte, hostile clients included."""

from __future__ import annotations

import asyncio
import json

import pytest

from support.agent import Agent, Wire, frame, start_request

LIST = b"POST /process.Process/List HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_health(agent: Agent) -> None:
    answer = await agent.request("GET", "/health")
    assert (answer.status, answer.headers) == (204, {"cache-control": "no-store"})


async def test_a_connection_serves_many_requests(agent: Agent) -> None:
    async with agent.connect() as wire:
        for _ in range(3):
            await wire.send(HEALTH)
            assert (await wire.read_answer()).status == 204


async def test_pipelined_requests_are_answered_in_order(agent: Agent) -> None:
    async with agent.connect() as wire:
        await wire.send(
            (HEALTH + LIST + b"Content-Length: 2\r\n\r\n{}" + b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n") * 50
        )
        for _ in range(50):
            assert [(await wire.read_answer()).status for _ in range(3)] == [204, 200, 404]


async def test_a_chunked_body_may_come_byte_by_byte(agent: Agent) -> None:
    async with agent.connect() as wire:
        for byte in LIST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;ext=1\r\n}\r\n0\r\nTrailer: x\r\n\r\n":
            await wire.send(bytes([byte]))
        assert (await wire.read_answer()).status == 200
        await wire.send(HEALTH)
        assert (await wire.read_answer()).status == 204


async def test_100_continue_comes_when_the_body_is_wanted(agent: Agent) -> None:
    async with agent.connect() as wire:
        await wire.send(LIST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await wire.read_head()).status == 100
        await wire.send(b"{}")
        assert (await wire.read_answer()).status == 200


async def test_100_continue_does_not_come_for_a_refused_request(agent: Agent) -> None:
    async with agent.connect() as wire:
        await wire.send(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        answer = await wire.read_answer()
        assert (answer.status, answer.interim, answer.headers["connection"]) == (404, [], "close")


@pytest.mark.parametrize(
    "target", ["/nothing", "/health", "/process.Process/Nothing", "/%00", "/../health", "http://x/health"]
)
async def test_unknown_routes_and_methods_answer_json(agent: Agent, target: str) -> None:
    answer = await agent.request("DELETE", target)
    assert answer.status in (404, 405)
    assert answer.json["code"] == answer.status
    assert answer.json["message"]


async def test_a_body_that_nobody_reads_does_not_spoil_the_next_request(agent: Agent) -> None:
    async with agent.connect() as wire:
        for size in (1, 100_000):
            await wire.send(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            assert (await wire.read_answer()).status == 404
            await wire.send(b"x" * size + HEALTH)
            assert (await wire.read_answer()).status == 204


async def test_an_answer_reaches_a_client_that_is_still_sending(agent: Agent) -> None:
    """A refused upload of much data: the client must see why, not a reset."""
    async with agent.connect() as wire:
        await wire.send(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n")
        for _ in range(100):
            await wire.send(b"x" * 65536)
        assert (await wire.read_answer()).status == 404
        assert await asyncio.wait_for(wire.is_closed(), 10)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nBad Header\r\n\r\n", 400),
        (b"GET /health HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (LIST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
        (LIST + b"Content-Length: -1\r\n\r\n{}", 400),
        (LIST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (LIST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
async def test_what_cannot_be_understood_is_refused(agent: Agent, data: bytes, status: int) -> None:
    async with agent.connect() as wire:
        await wire.send(data)
        answer = await wire.read_answer()
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert answer.json["message"]
        assert await asyncio.wait_for(wire.is_closed(), 10)


async def test_requests_before_a_broken_one_are_answered(agent: Agent) -> None:
    async with agent.connect() as wire:
        await wire.send(HEALTH + HEALTH + b"nonsense\r\n\r\n")
        assert [(await wire.read_answer()).status for _ in range(3)] == [204, 204, 400]


@pytest.mark.parametrize("rest", [b"Content-Length: 9\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n9\r\n{"])
async def test_a_body_that_is_cut_off_hangs_nobody(agent: Agent, rest: bytes) -> None:
    async with agent.connect() as wire:
        await wire.send(LIST + rest)
        wire.writer.write_eof()
        assert await asyncio.wait_for(wire.is_closed(), 10)


async def test_head_of_a_get_route(agent: Agent) -> None:
    answer = await agent.request("HEAD", "/envs")
    assert answer.status == 200
    assert int(answer.headers["content-length"]) > 0


async def test_http_1_0_gets_streams_without_chunks(agent: Agent) -> None:
    body = frame(start_request("echo", "hi"))
    async with agent.connect() as wire:
        await wire.send(
            b"POST /process.Process/Start HTTP/1.0\r\nContent-Type: application/connect+json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        answer = await wire.read_answer()
    assert "transfer-encoding" not in answer.headers
    assert b'"end"' in answer.body


async def test_upgrades_that_are_not_offered(agent: Agent) -> None:
    """A Java client asks for h2c in every plain request."""
    async with agent.connect() as wire:
        await wire.send(b"GET /envs HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert (await wire.read_answer()).status == 200
        assert await asyncio.wait_for(wire.is_closed(), 10)
    async with agent.connect() as wire:
        await wire.send(LIST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}")
        assert (await wire.read_answer()).status == 200
        assert await asyncio.wait_for(wire.is_closed(), 10)


async def test_browsers_may_call_from_any_page(agent: Agent) -> None:
    asked = {
        "Origin": "https://page.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,connect-protocol-version",
    }  # fmt: skip
    answer = await agent.request("OPTIONS", "/process.Process/Start", headers=asked)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert answer.headers["access-control-allow-headers"] == "authorization,connect-protocol-version"
    assert answer.headers["access-control-max-age"] == "7200"
    answer = await agent.request("GET", "/health", headers={"Origin": "https://page.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Location" in answer.headers["access-control-expose-headers"]


async def test_clients_that_leave_in_the_middle_leave_nothing(own_agent: Agent) -> None:
    import os

    before = len(os.listdir(f"/proc/{own_agent.pid}/fd"))

    async def leave(data: bytes) -> None:
        async with own_agent.connect() as wire:
            await wire.send(data)
            wire.abort()

    parts = (b"", b"GET /he", LIST + b"Content-Length: 9\r\n\r\n{", HEALTH, HEALTH * 100)
    await asyncio.gather(*(leave(part) for part in parts * 20))
    async with asyncio.timeout(10):
        while len(os.listdir(f"/proc/{own_agent.pid}/fd")) > before:
            await asyncio.sleep(0.05)
    assert (await own_agent.request("GET", "/health")).status == 204


async def test_errors_of_control_routes_are_json(agent: Agent) -> None:
    answer = await agent.control("POST", "/upgrade", {})
    assert answer.status == 501
    assert "upgrade" not in answer.headers
    assert json.loads(answer.body)["message"]


async def test_many_idle_connections_cost_nothing_to_the_others(agent: Agent) -> None:
    wires: list[Wire] = []
    try:
        for _ in range(300):
            reader, writer = await asyncio.open_connection("127.0.0.1", agent.port)
            wires.append(Wire(reader, writer))
        assert (await agent.request("GET", "/health")).status == 204
    finally:
        for wire in wires:
            wire.abort()
