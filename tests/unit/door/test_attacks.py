"""Attacks on the way requests are read. Each is tried on the door, where it fails, and on a lenient proxy, where it
succeeds: what is tested is the defence and not the clumsiness of the attack.
"""

from __future__ import annotations

import pytest

from support.door import Client, House, request, wait_for
from support.lenient import LenientProxy, gullible

SMUGGLED = b"POST /init HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
"""A route of the agent that is the control plane's alone, and that both refuse when they see it."""
ENDED = b"0\r\n\r\n" + SMUGGLED
HEAD = b"POST /innocent HTTP/1.1\r\nHost: localhost\r\nE2b-Sandbox-Id: one\r\nE2b-Sandbox-Port: 49983\r\n"
LENGTH = b"Content-Length: %d\r\n"

ATTACKS = {
    "a length and chunks": HEAD + LENGTH % len(ENDED) + b"Transfer-Encoding: chunked\r\n\r\n" + ENDED,
    "chunks and a length": HEAD + b"Transfer-Encoding: chunked\r\n" + LENGTH % len(ENDED) + b"\r\n" + ENDED,
    "two lengths": HEAD + LENGTH % len(SMUGGLED) + LENGTH % 0 + b"\r\n" + SMUGGLED,
    "a bare LF": HEAD + b"X: a\nTransfer-Encoding: chunked\r\n" + LENGTH % len(ENDED) + b"\r\n" + ENDED,
    "a folded line": HEAD + b"X: a\r\n Transfer-Encoding: chunked\r\n" + LENGTH % len(ENDED) + b"\r\n" + ENDED,
}


async def put_proxy_before(house: House, *, once: bool = False) -> LenientProxy:
    proxy = LenientProxy({name: one.agent_port for name, one in house.sandboxes.running.items()}, once=once)
    await proxy.start()
    house.port = proxy.port
    return proxy


@pytest.mark.parametrize("name", ATTACKS)
async def test_smuggling_fails(house: House, name: str) -> None:
    one = await house.add_sandbox("one", gullible)
    client = await house.connect()
    await client.send(ATTACKS[name])
    assert (await client.read_answer()).status in (400, 501)
    assert await client.read_end() == b""
    assert one.requests == []


@pytest.mark.parametrize("name", ATTACKS)
async def test_smuggling_is_an_attack(house: House, name: str) -> None:
    one = await house.add_sandbox("one", gullible)
    proxy = await put_proxy_before(house)
    client = await house.connect()
    await client.send(ATTACKS[name])
    await wait_for(lambda: len(one.requests) == 2)
    assert [seen.target for seen in one.requests] == ["/innocent", "/init"]
    await proxy.close()


async def test_what_is_smuggled_is_refused_in_the_open(house: House) -> None:
    """By both: else smuggling it would be no attack."""
    one = await house.add_sandbox("one", gullible)
    plain = request("/init", method="POST", to="one", body=b"{}")
    assert (await house.ask(plain)).status == 404
    proxy = await put_proxy_before(house)
    assert (await house.ask(plain)).status == 404
    await proxy.close()
    assert one.requests == []


PIPELINE = request("/a", to="one", fields="X-Access-Token: of-one\r\n") + request(
    "/b", to="two", fields="X-Access-Token: of-two\r\n"
)


async def read_two(client: Client) -> list[int]:
    await client.send(PIPELINE)
    return [(await client.read_answer()).status for _ in range(2)]


async def test_a_pipeline_goes_to_each_sandbox_apart(house: House) -> None:
    services = [await house.add_sandbox(name, gullible) for name in ("one", "two")]
    assert await read_two(await house.connect()) == [200, 200]
    got = [[(seen.target, seen.header("x-access-token")) for seen in service.requests] for service in services]
    assert got == [[("/a", "of-one")], [("/b", "of-two")]]


async def test_a_pipeline_that_sticks_to_its_connection_gives_tokens_away(house: House) -> None:
    one, two = [await house.add_sandbox(name, gullible) for name in ("one", "two")]
    proxy = await put_proxy_before(house, once=True)
    assert await read_two(await house.connect()) == [200, 200]
    assert [seen.header("x-access-token") for seen in one.requests] == ["of-one", "of-two"]
    assert two.requests == []
    await proxy.close()
