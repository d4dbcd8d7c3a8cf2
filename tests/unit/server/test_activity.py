"""How busy the installation is, as E2B's team metrics tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from sandlot_server.activity import ActivityRecorder, find_step
from sandlot_server.installation import Installation
from sandlot_server.models import Activity, now
from sandlot_server.store.base import Store
from sandlot_server.store.memory import MemoryStore
from sandlot_server.store.sqlite import SqliteStore

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def after(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def create(api: httpx.AsyncClient, count: int) -> list[str]:
    return [(await api.post("/v2/sandboxes", json={"templateID": "base"})).json()["sandboxID"] for _ in range(count)]


async def test_what_runs_and_what_starts(api: httpx.AsyncClient, installation: Installation) -> None:
    path = f"/teams/{installation.identity.find_team_id('sandlot')}/metrics"
    assert (await api.get(path)).json() == []
    made = await create(api, 3)
    await api.delete(f"/sandboxes/{made[0]}")
    await api.post(f"/sandboxes/{made[1]}/pause")
    await installation.activity.note()
    [point] = (await api.get(path)).json()
    assert (point["concurrentSandboxes"], point["sandboxStartRate"]) == (1, 3 / 900)
    assert datetime.fromisoformat(point["timestamp"]).timestamp() == point["timestampUnix"]
    hour = {"start": int(now().timestamp()) - 60, "end": int(now().timestamp()) + 60}
    [point] = (await api.get(path, params=hour)).json()
    assert point["sandboxStartRate"] == 3 / 5
    running = (await api.get(f"{path}/max", params={"metric": "concurrent_sandboxes"})).json()
    assert running["value"] == 1
    assert hour["start"] <= running["timestampUnix"] <= hour["end"]
    assert (await api.get(f"{path}/max", params={"metric": "sandbox_start_rate"})).json()["value"] == 3 / 5


async def test_of_a_time_without_sandboxes(api: httpx.AsyncClient, installation: Installation) -> None:
    path = f"/teams/{installation.identity.find_team_id('sandlot')}/metrics"
    await create(api, 1)
    await installation.activity.note()
    long_ago = {"start": 1000, "end": 2000}
    assert (await api.get(path, params=long_ago)).json() == []
    peak = await api.get(f"{path}/max", params={"metric": "sandbox_start_rate", **long_ago})
    assert (peak.status_code, peak.json()["value"]) == (200, 0)


async def test_refusals(api: httpx.AsyncClient, installation: Installation) -> None:
    own = f"/teams/{installation.identity.find_team_id('sandlot')}/metrics"
    for query in ({"start": "9", "end": "8"}, {"start": "x"}, {"start": str(int(now().timestamp()) + 99)}):
        assert (await api.get(own, params=query)).status_code == 400
    late = await api.get(own, params={"end": "10413792000"})
    assert (late.status_code, "end time cannot be after" in late.json()["message"]) == (400, True)
    for query in ({}, {"metric": "memory"}):
        assert (await api.get(f"{own}/max", params=query)).json()["message"].startswith("invalid metric")
    for path in ("/teams/other/metrics", "/teams/other/metrics/max?metric=concurrent_sandboxes"):
        refused = await api.get(path)
        assert (refused.status_code, refused.json()["code"]) == (403, 403)
    del api.headers["X-API-KEY"]
    assert (await api.get(own)).status_code == 401


async def test_quiet_times_are_noted_once(installation: Installation) -> None:
    store = MemoryStore()
    started = Counter({"sandlot": 0})
    recorder = ActivityRecorder(store=store, registry=installation.registry, count_started=lambda: started)
    for count in (0, 0, 2, 2, 2, 3):
        started["sandlot"] = count
        await recorder.note()
    noted = await store.load_activity("sandlot", now() - timedelta(hours=1), now(), 1)
    assert sum(one.started for one in noted) == 3
    assert len(store._activity) == 3  # 2 starts, the quiet after them, 1 start


def test_any_span_has_a_bounded_number_of_points() -> None:
    for hours in (0.5, 1, 5.9, 6, 12, 23, 24, 167, 168, 200):
        span = timedelta(hours=hours)
        assert span.total_seconds() / find_step(span) <= 2016


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "sandlot.db")
    await store.open()
    yield store
    await store.close()


async def test_steps_and_peaks(store: Store) -> None:
    for seconds, concurrent, started in ((0, 1, 1), (5, 4, 3), (29, 2, 0), (30, 2, 3), (61, 1, 0)):
        await store.append_activity(Activity(after(seconds), concurrent, started))
    assert await store.load_activity("sandlot", NOON, after(60), 30) == [
        Activity(NOON, 4, 4),
        Activity(after(30), 2, 3),
    ]
    assert await store.find_peak("concurrent", "sandlot", NOON, after(60)) == Activity(after(5), 4, 3)
    assert await store.find_peak("started", "sandlot", after(6), after(60)) == Activity(after(30), 2, 3)
    assert await store.find_peak("started", "sandlot", after(99), after(100)) is None
    await store.append_activity(Activity(after(5), 9, 9, "acme"))
    assert await store.find_peak("concurrent", "sandlot", NOON, after(60)) == Activity(after(5), 4, 3)
    assert await store.load_activity("acme", NOON, after(60), 5) == [Activity(after(5), 9, 9, "acme")]
    await store.prune(keep_entries=1, samples_before=NOON, activity_before=after(60))
    assert await store.load_activity("sandlot", NOON, after(99), 1) == [Activity(after(61), 1, 0)]
