"""Ten thousand sandboxes in the list: every page right, and how long one takes printed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import httpx
import pytest

from sandlot_server.installation import Installation, open_installation
from sandlot_server.models import Sandbox, SandboxSpec, SandboxState, now
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings
from sandlot_server.store.memory import MemoryStore

COUNT = 10_000
PAUSED_OF = 4
"""Every fourth is paused."""
SHARDS = 10
AT_ONCE = 3
"""So many started in the same moment: only their ids tell them apart."""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A server that knows ten thousand sandboxes."""
    settings = Settings(home=tmp_path_factory.mktemp("listing"), runtime="memory", pool_size=0)
    installation = open_installation(settings, runtime=MemoryRuntime(), store=MemoryStore())
    began = now() - timedelta(hours=1)
    for number in range(COUNT):
        installation.registry.add(make_sandbox(number, began + timedelta(milliseconds=number // AT_ONCE)))
    return installation


def make_sandbox(number: int, started_at: datetime) -> Sandbox:
    state = SandboxState.RUNNING if number % PAUSED_OF else SandboxState.PAUSED
    spec = SandboxSpec("base", "b1", "base", 1, 256, 300, metadata={"shard": str(number % SHARDS)})
    return Sandbox(f"i{number:020}", f"c{number}", state, started_at, now(), spec, "boot")


@pytest.fixture
async def api(crowded: Installation) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(crowded.create_app())
    headers = {"X-API-KEY": crowded.identity.api_key}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


async def read_pages(api: httpx.AsyncClient, **query: str) -> tuple[list[dict[str, str]], list[float], set[str | None]]:
    """All pages of a list, the milliseconds that each took, and the totals that they named."""
    rows: list[dict[str, str]] = []
    took_ms: list[float] = []
    totals: set[str | None] = set()
    while True:
        began = time.perf_counter()
        answer = await api.get("/v2/sandboxes", params=query)
        took_ms.append((time.perf_counter() - began) * 1e3)
        rows += answer.json()
        totals.add(answer.headers.get("x-total-running"))
        if "x-next-token" not in answer.headers:
            return rows, took_ms, totals
        query["nextToken"] = answer.headers["x-next-token"]


@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_all_pages_together_are_the_list(api: httpx.AsyncClient, order: str) -> None:
    rows, took_ms, totals = await read_pages(api, order=order)
    assert len(rows) == len({row["sandboxID"] for row in rows}) == COUNT
    assert [row["startedAt"] for row in rows] == sorted((row["startedAt"] for row in rows), reverse=order == "desc")
    assert totals == {str(COUNT - COUNT // PAUSED_OF)}
    took_ms.sort()
    middle, late = took_ms[len(took_ms) // 2], took_ms[len(took_ms) * 95 // 100]
    print(f"a page of 100 of {COUNT}, {order}: p50 {middle:.1f} ms, p95 {late:.1f} ms")


async def test_filters_hold_on_every_page(api: httpx.AsyncClient) -> None:
    query = {"state": "paused", "metadata": "shard=2", "limit": "60"}
    rows, took_ms, totals = await read_pages(api, **query)
    wanted = [number for number in range(COUNT) if number % PAUSED_OF == 0 and number % SHARDS == 2]
    assert sorted(row["sandboxID"] for row in rows) == [f"i{number:020}" for number in wanted]
    assert len(took_ms) == -(-len(wanted) // 60)
    assert totals == {None}


async def test_pages_stay_right_while_sandboxes_come_and_go(crowded: Installation, api: httpx.AsyncClient) -> None:
    first = await api.get("/v2/sandboxes", params={"limit": "50"})
    gone = crowded.registry.get(first.json()[-1]["sandboxID"])
    assert gone is not None
    crowded.registry.remove(gone.sandbox.id)
    crowded.registry.add(make_sandbox(COUNT, now()))
    try:
        rest, _, _ = await read_pages(api, nextToken=first.headers["x-next-token"])
    finally:
        crowded.registry.remove(f"i{COUNT:020}")
        crowded.registry.add(gone.sandbox)
    seen = [row["sandboxID"] for row in first.json() + rest]
    assert len(seen) == len(set(seen)) == COUNT
