"""Metrics, logs and events, as the SDKs and the CLI read them."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta

import httpx
import pytest

from sandlot_server.history import parse_lines
from sandlot_server.installation import Installation
from sandlot_server.metrics import EVER, Spent
from sandlot_server.models import LogEntry, Sample, now
from sandlot_server.runtime.base import Counters
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.store.base import Store
from sandlot_server.store.memory import MemoryStore
from sandlot_server.store.sqlite import SqliteStore


async def create(api: httpx.AsyncClient) -> str:
    return str((await api.post("/v2/sandboxes", json={"templateID": "base"})).json()["sandboxID"])


async def test_metrics_come_soon(api: httpx.AsyncClient) -> None:
    sandbox_id = await create(api)
    deadline = time.monotonic() + 5
    while not (found := (await api.get(f"/sandboxes/{sandbox_id}/metrics")).json()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert found[0]["cpuCount"] == 1
    assert abs(found[0]["timestampUnix"] - time.time()) < 10
    newest = (await api.get("/sandboxes/metrics", params={"sandbox_ids": f"{sandbox_id},iother"})).json()
    assert newest == {"sandboxes": {sandbox_id: found[-1]}}
    hour_ago = int(time.time()) - 3600
    before = await api.get(f"/sandboxes/{sandbox_id}/metrics", params={"start": hour_ago, "end": hour_ago + 9})
    assert before.json() == []


async def test_counters_that_the_host_shows_are_read_there(
    api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandlot_server.metrics.INTERVAL_S", 0)
    monkeypatch.setattr("sandlot_server.metrics.FIRST_AFTER_S", 0)
    sandbox_id = await create(api)
    container = installation.service.get(sandbox_id).container
    runtime.counters[container] = Counters(
        cpu_s=1, cpu_count=2, mem_used=12345, mem_cache=67, mem_total=1 << 30, disk_used=89, disk_total=1 << 40
    )
    metrics = installation.metrics
    await metrics.sample_due()
    assert metrics.find_last([sandbox_id])[sandbox_id].mem_used != 12345, "the agent tells of what went before"
    await metrics.sample_due()
    await metrics.sample_due()
    seen = metrics.find_last([sandbox_id])[sandbox_id]
    assert (seen.mem_used, seen.mem_cache, seen.cpu_count, seen.disk_used) == (12345, 67, 2, 89)
    del runtime.counters[container]
    await metrics.sample_due()
    assert metrics.find_last([sandbox_id])[sandbox_id].mem_used != 12345, "what is not seen is asked for"


def test_cpu_between_two_readings() -> None:
    before = Spent(at=100, cpu_s=10, cpus=2)
    assert Spent(at=110, cpu_s=15, cpus=2).compare(before) == 25
    assert Spent(at=110, cpu_s=99, cpus=2).compare(before) == 100
    assert Spent(at=110, cpu_s=0, cpus=2).compare(before) == 0, "started anew"


async def test_metrics_of_nothing(api: httpx.AsyncClient) -> None:
    assert (await api.get("/sandboxes/iunknown/metrics")).status_code == 404
    for query in ({"start": "x"}, {"end": "-1"}, {"start": "9" * 30}, {"start": "9", "end": "8"}):
        assert (await api.get("/sandboxes/iunknown/metrics", params=query)).status_code == 400
    for ids in ("", ",".join(["i1"] * 101), "A"):
        assert (await api.get("/sandboxes/metrics", params={"sandbox_ids": ids})).status_code == 400


async def test_logs_hold_events_and_the_agents_lines(api: httpx.AsyncClient, installation: Installation) -> None:
    sandbox_id = await create(api)
    await api.post(f"/sandboxes/{sandbox_id}/pause")
    await api.delete(f"/sandboxes/{sandbox_id}")
    await installation.tasks.finish(5)
    answer = (await api.get(f"/sandboxes/{sandbox_id}/logs")).json()
    assert len(answer["logs"]) == len(answer["logEntries"])
    for line in answer["logs"]:
        parsed = json.loads(line["line"])
        assert isinstance(parsed["level"], str)
        assert isinstance(parsed["logger"], str)
    events = [one["fields"]["event"] for one in answer["logEntries"] if "event" in one["fields"]]
    assert events == ["created", "paused", "killed"]
    assert any(one["message"] == "answered POST /init" for one in answer["logEntries"])


async def test_logs_forward_and_backward(api: httpx.AsyncClient) -> None:
    sandbox_id = await create(api)
    path = f"/v2/sandboxes/{sandbox_id}/logs"
    backward = (await api.get(path)).json()["logs"]
    forward = (await api.get(path, params={"direction": "forward"})).json()["logs"]
    assert sorted(one["message"] for one in forward) == sorted(one["message"] for one in backward)
    assert [one["timestamp"] for one in forward] == sorted(one["timestamp"] for one in forward)
    assert len((await api.get(path, params={"limit": "1"})).json()["logs"]) == 1
    assert (await api.get(path, params={"search": "created from"})).json()["logs"][0]["fields"]["event"] == "created"
    assert (await api.get(path, params={"level": "error"})).json()["logs"] == []
    late = str(int(time.time() * 1000) + 60_000)
    assert (await api.get(path, params={"cursor": late, "direction": "forward"})).json()["logs"] == []
    for query in ({"direction": "up"}, {"level": "loud"}, {"cursor": "x"}, {"limit": "x"}):
        assert (await api.get(path, params=query)).status_code == 400
    assert (await api.get("/sandboxes/iunknown/logs")).status_code == 404


def test_lines_of_an_agent() -> None:
    lines = [
        '{"timestamp": "2026-01-02T03:04:05.678Z", "level": "warn", "message": "m", "pid": 7}',
        "Traceback (most recent call last):",
        '{"level": "info"}',
        "[]",
    ]
    entries = parse_lines("i1", lines)
    assert [entry.message for entry in entries] == ["m", *lines[1:]]
    assert entries[0].fields == {"pid": "7"}
    assert {entry.at for entry in entries} == {entries[0].at}


@pytest.fixture(params=[MemoryStore, SqliteStore])
async def store(request: pytest.FixtureRequest, tmp_path):  # type: ignore[no-untyped-def]
    store: Store = MemoryStore() if request.param is MemoryStore else SqliteStore(tmp_path / "sandlot.db")
    await store.open()
    yield store
    await store.close()


async def test_history_is_bounded(store: Store) -> None:
    moment = now()
    entries = [LogEntry(moment + timedelta(seconds=n), "i1", "info", str(n), None, {"n": "ü"}) for n in range(5)]
    samples = [Sample(moment + timedelta(seconds=n), "i1", 1, 0.5, 1, 2, 3, 4, 5) for n in range(5)]
    await store.append_entries(entries)
    await store.append_samples(samples)
    assert await store.load_entries("i1") == entries
    assert await store.load_entries("i2") == []
    assert await store.load_samples("i1", samples[1].at, samples[3].at) == samples[1:4]
    await store.prune(keep_entries=2, samples_before=samples[4].at, activity_before=EVER)
    assert await store.load_entries("i1") == entries[3:]
    assert await store.load_samples("i1", samples[0].at, samples[4].at) == samples[4:]


async def test_the_same_key_makes_one_sandbox(api: httpx.AsyncClient, installation: Installation) -> None:
    async def post(key: str, **fields: object) -> httpx.Response:
        body = {"templateID": "base", **fields}
        return await api.post("/v2/sandboxes", json=body, headers={"Idempotency-Key": key})

    answers = await asyncio.gather(*(post("key-1") for _ in range(4)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["sandboxID"] for answer in answers}) == 1
    assert len(installation.service.list()) == 1
    assert (await post("key-1", timeout=7)).status_code == 422
    assert (await post("Not A Key")).status_code == 400
    await api.delete(f"/sandboxes/{answers[0].json()['sandboxID']}")
    assert (await post("key-1")).json()["sandboxID"] != answers[0].json()["sandboxID"]


async def test_a_slow_listener_is_dropped(installation: Installation) -> None:
    from sandlot_server.journal import BACKLOG, Event

    listener = installation.journal.listen()
    first = asyncio.ensure_future(anext(listener))
    await asyncio.sleep(0)
    for _ in range(BACKLOG + 2):
        installation.journal.record(Event.CREATED, "i1", "made")
    assert (await first).message == "made"
    assert sum([1 async for _ in listener]) < BACKLOG + 2
