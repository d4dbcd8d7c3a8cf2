"""A server dies in the middle of anything; the next one on the same store and engine puts it right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_server.errors import EngineError
from sandlot_server.history import LogQuery
from sandlot_server.installation import Installation, open_installation
from sandlot_server.models import DEFAULT_TEAM, Lifecycle, LogEntry, NewSandbox, SandboxState
from sandlot_server.runtime.base import Status
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings
from sandlot_server.store.memory import MemoryStore
from support.polling import until
from support.power_cut import PowerCut, World

BASE = NewSandbox("base", 300, secure=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    world.open()
    await world.engine.destroy()


async def finish(installation: Installation) -> None:
    await installation.tasks.finish(5)


CREATE_CUTS: dict[str, Callable[[World], None]] = {
    "before its row": lambda world: setattr(world.store, "saves_left", 0),
    "before the container": lambda world: setattr(world.engine, "cut_at", "start"),
    "with a container that has not started": lambda world: setattr(world.engine, "cut_at", "started"),
    "before it is said to run": lambda world: setattr(world.store, "saves_left", 1),
}


@pytest.mark.parametrize("cut", CREATE_CUTS.values(), ids=CREATE_CUTS.keys())
async def test_create_cut_short_leaves_nothing(world: World, cut: Callable[[World], None]) -> None:
    first = world.open()
    async with first.run():
        cut(world)
        with pytest.raises(PowerCut):
            await first.service.create(BASE)
        await first.tasks.finish(5)
    second = world.open()
    async with second.run():
        await finish(second)
        assert second.service.list() == []
        assert await world.containers() == {}
        assert await world.store.load_sandboxes() == []


async def test_running_sandboxes_are_taken_over(world: World) -> None:
    first = world.open()
    async with first.run():
        made = await first.service.create(BASE)
        endpoint = first.directory.find(made.id)
    second = world.open()
    async with second.run():
        assert second.service.get(made.id) == made
        assert second.directory.find(made.id) == endpoint
        await second.service.set_timeout(made.id, 0)
        await until(lambda: second.service.list() == [], "it still ends")


async def test_time_goes_on_while_no_server_runs(world: World) -> None:
    first = world.open()
    async with first.run():
        made = await first.service.create(NewSandbox("base", 1, secure=True))
    await asyncio.sleep(1.1)
    second = world.open()
    async with second.run():
        await until(lambda: second.registry.get(made.id) is None, "it ends at once")
        assert await world.containers() == {}


@pytest.mark.parametrize("paused", [False, True])
async def test_after_the_host_went_down_sandboxes_have_their_files(world: World, paused: bool) -> None:
    first = world.open()
    async with first.run():
        made = await first.service.create(BASE)
        if paused:
            await first.service.pause(made.id)
    await world.engine.crash(made.container, "the power failed")
    for _ in range(2):  # the next server, and the one after that, know the same
        second = world.open()
        async with second.run():
            known = second.service.get(made.id)
            assert (known.state, known.filesystem_only) == (SandboxState.PAUSED, True)
            assert second.directory.find(made.id) is None
    third = world.open()
    async with third.run():
        entries = await third.history.load(made.id, LogQuery())
        [told] = [one for one in entries if one.event == "memory_lost"]
        assert told.level == "warn"
        assert told.message.startswith(f"lost its memory while {'paused' if paused else 'running'} (")
        assert told.fields["reason"] == "its container ended while nobody watched: the power failed"
        await third.service.connect(made.id, 60)
        assert third.service.get(made.id).boot_id != made.boot_id
        assert third.directory.find(made.id) is not None


async def test_what_was_stopped_ends_in_its_time(world: World) -> None:
    """Nobody paused it: unless it would be paused at its end anyway, its files are not kept for ever."""
    first = world.open()
    async with first.run():
        short = await first.service.create(replace(BASE, timeout_s=1))
        kept = await first.service.create(replace(BASE, timeout_s=1, lifecycle=Lifecycle(auto_pause=True)))
        for one in (short, kept):
            await world.engine.crash(one.container, "the engine stopped it", stopped=True)
        await until(lambda: first.service.get(kept.id).filesystem_only, "both are stopped")
    second = world.open()
    async with second.run():
        await until(lambda: second.registry.get(short.id) is None, "its time is over")
        assert second.service.get(kept.id).state is SandboxState.PAUSED
        assert list(await world.containers()) == [kept.container]


async def test_what_was_stopped_may_go_on(world: World) -> None:
    installation = world.open()
    async with installation.run():
        made = await installation.service.create(replace(BASE, timeout_s=1))
        await world.engine.crash(made.container, "the engine stopped it", stopped=True)
        await until(lambda: installation.service.get(made.id).filesystem_only, "it is stopped")
        await installation.service.resume(made.id, 60)
        await asyncio.sleep(1.1)  # its first time has to pass
        assert installation.service.get(made.id).state is SandboxState.RUNNING


async def test_deaths_that_were_missed_are_found_once_the_engine_is_back(world: World) -> None:
    installation = world.open()
    async with installation.run():
        made = await installation.service.create(BASE)
        world.engine.lose_watchers()
        await world.engine.crash(made.container, "the engine restarted")
        await until(lambda: installation.service.get(made.id).filesystem_only, "the loss is noted")


@pytest.mark.parametrize("memory", [True, False])
async def test_what_an_engine_did_without_saying_so_is_put_right(world: World, memory: bool) -> None:
    installation = world.open()
    async with installation.run():
        running, paused = [await installation.service.create(BASE) for _ in range(2)]
        await installation.service.pause(paused.id, memory=memory)
        # As seen with an engine that is killed in the middle of both: each was counted as failed.
        await world.engine.pause(running.container)
        await (world.engine.unpause if memory else world.engine.boot)(paused.container)
        world.engine.lose_watchers()

        async def agree() -> bool:
            stopped = Status.PAUSED if memory else Status.EXITED
            return await world.containers() == {running.container: Status.RUNNING, paused.container: stopped}

        async with asyncio.timeout(5):
            while not await agree():
                await asyncio.sleep(0.01)
        assert installation.service.get(running.id).state is SandboxState.RUNNING
        assert installation.service.get(paused.id).state is SandboxState.PAUSED
        await installation.service.resume(paused.id, 60)


async def test_an_agent_that_does_not_answer_yet_is_no_reason_to_end_a_sandbox(world: World) -> None:
    first = world.open()
    async with first.run():
        made = await first.service.create(BASE)
        await world.engine.pause(made.container)
    await world.engine.agent(made.container).stop()
    second = world.open()
    async with second.run():
        assert second.service.get(made.id).state is SandboxState.RUNNING
        assert (await world.containers())[made.container] is Status.RUNNING


async def test_a_shortage_of_memory_is_told(world: World) -> None:
    installation = world.open()
    async with installation.run():
        made = await installation.service.create(BASE)
        world.engine.starve(made.container)
        world.engine.starve("somebody else's")

        async def find() -> list[LogEntry]:
            entries = await installation.history.load(made.id, LogQuery())
            return [one for one in entries if one.event == "out_of_memory"]

        async with asyncio.timeout(5):
            while not (told := await find()):
                await asyncio.sleep(0.01)
        assert told[0].message == "is out of memory (1024 MiB): the kernel has killed one of its processes"
        assert told[0].level == "warn"
        assert installation.service.get(made.id).state is SandboxState.RUNNING


@pytest.mark.parametrize("memory", [True, False])
async def test_paused_sandboxes_stay_paused(world: World, memory: bool) -> None:
    first = world.open()
    async with first.run():
        made = await first.service.create(BASE)
        await first.service.pause(made.id, memory=memory)
    second = world.open()
    async with second.run():
        assert second.service.get(made.id).state is SandboxState.PAUSED
        await second.service.resume(made.id, 60)
        assert (second.service.get(made.id).boot_id == made.boot_id) is memory


@pytest.mark.parametrize("operation", ["pause", "halt"])
async def test_a_pause_cut_before_the_engine_is_undone(world: World, operation: str) -> None:
    first = world.open()
    async with first.run():
        made = await first.service.create(BASE)
        world.engine.cut_at = operation
        with pytest.raises(PowerCut):
            await first.service.pause(made.id, memory=operation == "pause")
    second = world.open()
    async with second.run():
        assert second.service.get(made.id).state is SandboxState.RUNNING
        assert "POST /unfreeze" in world.engine.agent(made.container).calls


@pytest.mark.parametrize("memory", [True, False])
async def test_a_pause_cut_after_the_engine_is_finished(world: World, memory: bool) -> None:
    first = world.open()
    async with first.run():
        made = await first.service.create(BASE)
        world.store.saves_left = 1
        with pytest.raises(PowerCut):
            await first.service.pause(made.id, memory=memory)
    second = world.open()
    async with second.run():
        assert second.service.get(made.id).state is SandboxState.PAUSED
        await second.service.resume(made.id, 60)


@pytest.mark.parametrize("saves", [1, 2])
@pytest.mark.parametrize("memory", [True, False])
async def test_a_resume_cut_short_is_undone(world: World, memory: bool, saves: int) -> None:
    first = world.open()
    async with first.run():
        made = await first.service.create(BASE)
        await first.service.pause(made.id, memory=memory)
        world.store.saves_left = saves
        if memory and saves == 2:
            return
        with pytest.raises(PowerCut):
            await first.service.resume(made.id, 60)
    second = world.open()
    async with second.run():
        assert second.service.get(made.id).state is SandboxState.PAUSED
        await second.service.resume(made.id, 60)
        assert second.directory.find(made.id) is not None


async def test_a_kill_is_finished(world: World) -> None:
    first = world.open()
    async with first.run():
        made = await first.service.create(BASE)
        world.engine.cut_at = "remove"
        await first.service.kill(made.id)
        await first.tasks.finish(5)
    second = world.open()
    assert await world.containers() == {made.container: Status.RUNNING}
    async with second.run():
        assert second.service.list() == []
        await finish(second)
        assert await world.containers() == {}


async def test_memory_lost_while_paused(world: World) -> None:
    first = world.open()
    async with first.run():
        made = await first.service.create(BASE)
        await first.service.pause(made.id)
        await world.engine.crash(made.container, "the engine ended")
        await until(lambda: first.service.get(made.id).filesystem_only, "the loss is noted")
        await first.service.resume(made.id, 60)
        assert first.service.get(made.id).boot_id != made.boot_id


async def test_a_container_that_dies_takes_its_sandbox_along(world: World) -> None:
    installation = world.open()
    cut: list[str] = []
    installation.registry.on_unreachable(cut.append)
    async with installation.run():
        made = await installation.service.create(BASE)
        await world.engine.crash(made.container, "out of memory")
        await until(lambda: installation.registry.get(made.id) is None, "it is gone")
        assert cut == [made.id]
        assert await world.containers() == {}


async def test_the_sweep_finds_what_nobody_told(world: World) -> None:
    installation = world.open()
    async with installation.run():
        made = await installation.service.create(BASE)
        lost = await installation.containers.provision(
            installation.containers.new_name(), installation.catalogue.resolve("base", DEFAULT_TEAM)
        )
        await world.engine.vanish(made.container)
        await installation.reconciler.sweep()
        await until(lambda: installation.registry.get(made.id) is None, "the missed death is noted")
        await finish(installation)
        assert lost.name not in await world.containers()


@pytest.mark.parametrize("state", [SandboxState.PAUSING, SandboxState.RESUMING, SandboxState.SNAPSHOTTING])
async def test_the_sweep_finds_a_death_in_the_middle_of_something(world: World, state: SandboxState) -> None:
    """Its address may be another's soon: that must not wait for the next sweep."""
    installation = world.open()
    async with installation.run():
        made = await installation.service.create(BASE)
        entry = installation.registry.get(made.id)
        assert entry is not None
        entry.change(state)
        await world.engine.vanish(made.container)
        await installation.reconciler.sweep()
        entry.change(SandboxState.RUNNING)
        await until(lambda: installation.registry.get(made.id) is None, "the missed death is noted")
        await finish(installation)


async def test_the_sweep_leaves_alone_what_is_only_starting(tmp_path: Path) -> None:
    runtime = MemoryRuntime(start_delay_s=0.2)
    settings = Settings(home=tmp_path, runtime="memory", pool_size=0)
    installation = open_installation(settings, runtime=runtime, store=MemoryStore())
    async with installation.run():
        creating = asyncio.ensure_future(installation.service.create(BASE))
        while not creating.done():
            await installation.reconciler.sweep()
            await asyncio.sleep(0.01)
        assert installation.service.get((await creating).id).state is SandboxState.RUNNING
    await runtime.destroy()


async def test_a_failed_start_leaves_nothing(world: World) -> None:
    installation = world.open()
    async with installation.run():

        def fail(operation: str, name: str) -> None:
            if operation == "started":
                raise EngineError("no space left on device")

        world.engine.hook = fail
        with pytest.raises(EngineError, match="no space left"):
            await installation.service.create(BASE)
        await finish(installation)
        assert await world.containers() == {}
        assert await world.store.load_sandboxes() == []


async def test_a_failed_pause_runs_on(world: World) -> None:
    installation = world.open()
    async with installation.run():
        made = await installation.service.create(BASE)

        def fail(operation: str, name: str) -> None:
            if operation == "pause":
                raise EngineError("cannot freeze")

        world.engine.hook = fail
        with pytest.raises(EngineError, match="cannot freeze"):
            await installation.service.pause(made.id)
        assert installation.service.get(made.id).state is SandboxState.RUNNING
        assert installation.directory.find(made.id) is not None
