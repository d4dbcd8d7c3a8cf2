"""The whole server on a port, over the memory runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from sandlot_server.app import Server, run_server
from sandlot_server.errors import SandlotError
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    runtime = MemoryRuntime()
    async with run_server(Settings(home=tmp_path, port=0, pool_size=0), runtime=runtime) as server:
        yield server
    await runtime.destroy()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-API-KEY": server.installation.identity.api_key}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
        yield client


async def test_api_and_sandboxes_on_one_port(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).status_code == 204
    made = (await client.post("/v2/sandboxes", json={"templateID": "base"})).json()
    address = {"E2b-Sandbox-Id": made["sandboxID"], "E2b-Sandbox-Port": "49983"}
    assert (await client.get("/health", headers=address)).status_code == 204
    assert (await client.post("/init", headers=address)).status_code == 404
    assert (await client.delete(f"/sandboxes/{made['sandboxID']}")).status_code == 204
    gone = await client.get("/health", headers=address)
    assert (gone.status_code, gone.json()["message"]) == (502, "The sandbox was not found")


async def test_traffic_wakes_a_sandbox_that_wants_it(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v2/sandboxes", json={"templateID": "base", "autoResume": {"enabled": True}})).json()
    path = f"/sandboxes/{made['sandboxID']}"
    address = {"E2b-Sandbox-Id": made["sandboxID"], "E2b-Sandbox-Port": "49983"}
    assert (await client.post(f"{path}/pause")).status_code == 204
    assert (await client.get("/health", headers=address)).status_code == 403
    assert (await client.get(path)).json()["state"] == "paused"
    address["X-Access-Token"] = made["envdAccessToken"]
    answers = await asyncio.gather(*(client.get("/health", headers=address) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [204, 204, 204]
    assert (await client.get(path)).json()["state"] == "running"


async def test_many_sandboxes_at_once(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/v2/sandboxes", json={"templateID": "base"}) for _ in range(20)))
    ids = {answer.json()["sandboxID"] for answer in answers}
    assert len(ids) == 20
    assert {one["sandboxID"] for one in (await client.get("/v2/sandboxes")).json()} == ids
    killed = await asyncio.gather(*(client.delete(f"/sandboxes/{one}") for one in ids))
    assert {answer.status_code for answer in killed} == {204}


async def test_a_port_that_is_taken(server: Server, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "other", port=server.port, pool_size=0)
    with pytest.raises(SandlotError, match="cannot be listened on"):
        async with run_server(settings, runtime=MemoryRuntime()):
            pass


async def test_events_are_told_live(client: httpx.AsyncClient) -> None:
    seen = []
    async with client.stream("GET", "/_sandlot/events", timeout=5) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        made = (await client.post("/v2/sandboxes", json={"templateID": "base"})).json()
        await client.delete(f"/sandboxes/{made['sandboxID']}")
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
            if line.startswith("data: "):
                assert made["sandboxID"] in line
            if seen[-1:] == ["killed"] and not line:
                break
    assert seen == ["created", "killed"]
