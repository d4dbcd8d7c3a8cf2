"""Each request reaches the target that it names, whatever else is on its connection."""

from __future__ import annotations

import json

import pytest

from support.door import Connection, House, request, wait_for


async def test_api_and_sandboxes_share_a_connection(house: House) -> None:
    await house.add_sandbox("one")
    await house.add_sandbox("two")
    client = await house.connect()
    for to, name in (("one", b"one"), (None, b"api"), ("two", b"two"), ("one", b"one")):
        answer = await client.ask(request("/health", to=to))
        assert answer.status == 200
        assert answer.body.split(b" ")[0] == name


async def test_pipelined_requests_reach_each_its_own_sandbox(house: House) -> None:
    await house.add_sandbox("one")
    await house.add_sandbox("two")
    client = await house.connect()
    await client.send(
        request("/a", to="one", method="POST", body=b"first")
        + request("/b", to="two", method="POST", fields="Transfer-Encoding: chunked\r\n")
        + b"3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n"
        + request("/c")
        + request("/d", to="gone")
        + request("/e", to="one")
    )
    answers = [await client.read_answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 502, 200]
    assert answers[0].body == b"one POST /a first"
    assert answers[1].body == b"two POST /b second"
    assert answers[2].body == b"api GET /c "
    assert json.loads(answers[3].body)["message"] == "The sandbox was not found"
    assert answers[4].body == b"one GET /e "


async def test_the_host_decides_under_the_domain(house: House) -> None:
    await house.add_sandbox("one")
    await house.add_sandbox("two")
    service = await house.add_service("service")
    ask = house.ask
    assert (await ask(request(host="49983-one.e2b.localhost"))).body == b"one GET / "
    assert (await ask(request(host="49983-ONE-old.E2B.localhost.:3443"))).body == b"one GET / "
    assert (await ask(request(host=f"{service.port}-one.e2b.localhost:3443"))).body == b"service GET / "
    assert (await ask(request(host="49983-one.e2b.localhost", to="two"))).body == b"one GET / "
    assert (await ask(request(host="sandbox.e2b.localhost", to="two"))).body == b"two GET / "
    assert (await ask(request(host="[::1]:3000", to="two"))).body == b"two GET / "
    assert (await ask(request(host="localhost", to="two"))).body == b"two GET / "
    assert (await ask(request(host="api.e2b.localhost"))).body == b"api GET / "
    assert (await ask(request(host="api.e2b.localhost", to="two"))).body == b"api GET / "
    assert (await ask(request(host="sandlot.example"))).body == b"api GET / "


async def test_an_agent_is_told_which_sandbox_is_meant(house: House) -> None:
    """By whichever way the request came: an address can have been another sandbox's."""
    agent, service = await house.add_sandbox("one"), await house.add_service("service")
    await house.ask(request(to="one"))
    await house.ask(request(host="49983-one.e2b.localhost"))
    await house.ask(request(host="49983-one.e2b.localhost", to="two", method="POST", body=b"kept"))
    assert [seen.header("e2b-sandbox-id") for seen in agent.requests] == ["one"] * 3
    assert agent.requests[2].body == b"kept"
    await house.ask(request(host=f"{service.port}-one.e2b.localhost"))
    assert service.requests[0].header("e2b-sandbox-id") is None


@pytest.mark.parametrize(
    ("host", "fields", "message"),
    [
        ("localhost", "E2b-Sandbox-Id: one\r\n", b"missing header"),
        ("localhost", "E2b-Sandbox-Port: 80\r\n", b"missing header"),
        ("localhost", "E2b-Sandbox-Id: One\r\nE2b-Sandbox-Port: 80\r\n", b"Invalid sandbox ID"),
        ("localhost", "E2b-Sandbox-Id: one-1\r\nE2b-Sandbox-Port: 80\r\n", b"Invalid sandbox ID"),
        ("localhost", "E2b-Sandbox-Id: one\r\nE2b-Sandbox-Port: 0\r\n", b"Invalid sandbox port"),
        ("localhost", "E2b-Sandbox-Id: one\r\nE2b-Sandbox-Port: 65536\r\n", b"Invalid sandbox port"),
        ("localhost", "E2b-Sandbox-Id: one\r\nE2b-Sandbox-Port: +80\r\n", b"Invalid sandbox port"),
        ("localhost", "E2b-Sandbox-Id: one\r\nE2b-Sandbox-Port: \xb2\r\n", b"Invalid sandbox port"),
        ("x-one.e2b.localhost", "", b"Invalid sandbox port"),
        ("80-o_ne.e2b.localhost", "", b"Invalid sandbox ID"),
        ("nothing.e2b.localhost", "", b"Invalid host"),
        ("a b", "", b"Invalid host"),
        ("a/b", "", b"Invalid host"),
        ("user@localhost", "", b"Invalid host"),
        # A page under a foreign name must not reach sandboxes, and the API must not answer in their place.
        ("evil.example", "E2b-Sandbox-Id: one\r\nE2b-Sandbox-Port: 80\r\n", b"Invalid host"),
    ],
)
async def test_a_request_that_names_no_target(house: House, host: str, fields: str, message: bytes) -> None:
    await house.add_sandbox("one")
    answer = await house.ask(request(host=host, fields=fields))
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.body.strip() == message


async def test_the_two_502s_are_worded_exactly(house: House) -> None:
    answer = await house.ask(request(to="gone", port=3000))
    assert answer.status == 502
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(answer.body) == {"sandboxId": "gone", "message": "The sandbox was not found", "code": 502}

    service = await house.add_sandbox("one")
    await service.close()
    answer = await house.ask(request(to="one"))
    assert answer.status == 502
    assert json.loads(answer.body) == {
        "sandboxId": "one",
        "message": "The sandbox is running but port is not open",
        "port": 49983,
        "code": 502,
    }


async def test_cut_aborts_what_is_in_flight_and_the_next_request_finds_nothing(house: House) -> None:
    async def stream(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await connection.reader.readexactly(1)

    service = await house.add_sandbox("one", stream)
    await house.add_sandbox("two")
    client, other = await house.connect(), await house.connect()
    await client.send(request("/process.Process/Start", method="POST", to="one", body=b"{}"))
    assert (await client.read_head()).status == 200
    assert await client.reader.readexactly(10) == b"5\r\nhello\r\n"
    assert (await other.ask(request(to="two"))).status == 200

    del house.sandboxes.running["one"]
    assert house.door.cut("one") == 1
    assert await client.read_end() == b""
    await wait_for(lambda: service.lost == 1)
    assert (await other.ask(request("/health", to="one"))).status == 502
    assert (await other.ask(request(to="two"))).status == 200
    assert house.door.stats.active == 0
