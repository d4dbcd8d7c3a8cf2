"""Containers that wait: handed out, refilled, adopted, replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_server.errors import EngineError
from sandlot_server.installation import Installation, open_installation
from sandlot_server.models import DEFAULT_TEAM, NewSandbox
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings
from sandlot_server.store.memory import MemoryStore
from support.polling import until

BASE = NewSandbox("base", 300, secure=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, runtime="memory", pool_size=2)


@pytest.fixture
async def runtime() -> AsyncIterator[MemoryRuntime]:
    runtime = MemoryRuntime()
    yield runtime
    await runtime.destroy()


async def is_full(installation: Installation) -> None:
    await until(lambda: installation.pool.count() == 2, "two containers wait")


async def test_creating_takes_a_waiting_container(settings: Settings, runtime: MemoryRuntime) -> None:
    installation = open_installation(settings, runtime=runtime, store=MemoryStore())
    async with installation.run():
        await is_full(installation)
        waiting = {info.name for info in await runtime.list_containers()}
        made = await installation.service.create(BASE)
        assert made.container in waiting
        await is_full(installation)
        assert len(await runtime.list_containers()) == 3


async def test_an_address_that_is_given_away_is_nobody_elses(settings: Settings, runtime: MemoryRuntime) -> None:
    """An engine that was killed gives addresses away before anybody is told that their containers have ended."""
    installation = open_installation(settings, runtime=runtime, store=MemoryStore())
    async with installation.run():
        await is_full(installation)
        made = await installation.service.create(BASE)
        await is_full(installation)
        entry = installation.registry.get(made.id)
        assert entry is not None
        assert entry.container is not None
        newcomer = replace(entry.container, name="newcomer")
        installation.registry.displace(entry.container)
        assert installation.registry.find_endpoint(made.id) is not None
        installation.registry.displace(newcomer)
        assert installation.registry.find_endpoint(made.id) is None

        waits = next(iter(installation.pool.list_waiting()))
        installation.pool.displace(replace(waits, name="newcomer"))
        assert not installation.pool.holds(waits.name)
        await is_full(installation)


async def test_more_at_once_than_wait(settings: Settings, runtime: MemoryRuntime) -> None:
    installation = open_installation(settings, runtime=runtime, store=MemoryStore())
    async with installation.run():
        await is_full(installation)
        made = await asyncio.gather(*(installation.service.create(BASE) for _ in range(5)))
        assert len({one.container for one in made}) == 5
        await is_full(installation)


async def test_the_next_server_takes_over_what_waits(settings: Settings, runtime: MemoryRuntime) -> None:
    store = MemoryStore()
    first = open_installation(settings, runtime=runtime, store=store)
    async with first.run():
        await is_full(first)
        await first.service.create(BASE)
        await is_full(first)
    before = {info.name for info in await runtime.list_containers()}
    second = open_installation(settings, runtime=runtime, store=store)
    async with second.run():
        assert second.pool.count() == 2
        assert {info.name for info in await runtime.list_containers()} == before


async def test_what_waits_with_other_settings_is_replaced(settings: Settings, runtime: MemoryRuntime) -> None:
    store = MemoryStore()
    first = open_installation(settings, runtime=runtime, store=store)
    async with first.run():
        await is_full(first)
    old = {info.name for info in await runtime.list_containers()}
    second = open_installation(settings.model_copy(update={"memory_mb": 333}), runtime=runtime, store=store)
    async with second.run():
        await is_full(second)
        await second.tasks.finish(5)
        assert old.isdisjoint({info.name for info in await runtime.list_containers()})


async def test_a_waiting_container_that_dies_is_replaced(settings: Settings, runtime: MemoryRuntime) -> None:
    installation = open_installation(settings, runtime=runtime, store=MemoryStore())
    async with installation.run():
        await is_full(installation)
        victim = (await runtime.list_containers())[0].name
        await runtime.crash(victim)
        await until(lambda: not installation.pool.holds(victim), "it is not handed out any more")
        await is_full(installation)


async def test_a_waiting_container_that_is_gone_unnoticed(settings: Settings, runtime: MemoryRuntime) -> None:
    installation = open_installation(settings, runtime=runtime, store=MemoryStore())
    async with installation.run():
        await is_full(installation)
        for info in await runtime.list_containers():
            await runtime.vanish(info.name)
        made = await installation.service.create(BASE)
        assert runtime.agent(made.container).inits[0]["sandboxID"] == made.id


async def test_workers_start_as_many_at_once_and_none_too_many(tmp_path: Path) -> None:
    starting: set[str] = set()
    at_once: list[int] = []

    def count(operation: str, name: str) -> None:
        if operation == "start":
            starting.add(name)
            at_once.append(len(starting))
        elif operation == "started":
            starting.remove(name)

    runtime = MemoryRuntime(before=count, start_delay_s=0.02)
    settings = Settings(home=tmp_path, runtime="memory", pool_size=5, pool_workers=3)
    installation = open_installation(settings, runtime=runtime, store=MemoryStore())
    async with installation.run():
        await until(lambda: installation.pool.count() == 5, "five containers wait")
        assert len(await runtime.list_containers()) == 5
    assert max(at_once) == 3
    await runtime.destroy()


async def test_what_was_asked_for_shows(settings: Settings, runtime: MemoryRuntime) -> None:
    installation = open_installation(settings, runtime=runtime, store=MemoryStore())
    async with installation.run():
        await is_full(installation)
        await asyncio.gather(*(installation.service.create(BASE) for _ in range(3)))
        await is_full(installation)
        (level,) = installation.pool.list_levels()
        assert (level.template_id, level.waiting, level.wanted) == ("base", 2, 2)
        assert (level.taken, level.missed) == (2, 1)


async def test_the_memory_budget_holds(settings: Settings, runtime: MemoryRuntime) -> None:
    small = settings.model_copy(update={"pool_memory_mb": 1500, "memory_mb": 1024})
    installation = open_installation(small, runtime=runtime, store=MemoryStore())
    async with installation.run():
        await until(lambda: installation.pool.count() == 1, "one waits")
        await asyncio.sleep(0.1)
        assert installation.pool.count() == 1


async def test_another_build_replaces_what_waits(settings: Settings, runtime: MemoryRuntime) -> None:
    installation = open_installation(settings, runtime=runtime, store=MemoryStore())
    async with installation.run():
        await is_full(installation)
        old = {info.name for info in await runtime.list_containers()}
        base = installation.catalogue.resolve("base", DEFAULT_TEAM)
        await installation.catalogue.save(replace(base, build_id="other", image="other"))
        installation.pool.retire()
        made = await installation.service.create(BASE)
        assert made.container not in old
        await is_full(installation)


async def test_a_failing_engine_is_tried_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandlot_server.pool.BACKOFF_S", 0.01)
    failures = iter([True, True])

    def fail_twice(operation: str, name: str) -> None:
        if operation == "started" and next(failures, False):
            raise EngineError("no")

    runtime = MemoryRuntime(before=fail_twice)
    installation = open_installation(settings, runtime=runtime, store=MemoryStore())
    async with installation.run():
        await is_full(installation)
        await installation.tasks.finish(5)
        assert len(await runtime.list_containers()) == 2
    await runtime.destroy()
