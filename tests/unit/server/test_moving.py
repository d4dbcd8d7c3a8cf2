"""A sandbox whose container the engine cannot start any more gets another one, with its files."""

from __future__ import annotations

import pytest

from sandlot_server.errors import EngineError, StuckContainer
from sandlot_server.installation import Installation
from sandlot_server.models import NewSandbox, Sandbox, SandboxState
from sandlot_server.runtime.memory import MemoryRuntime


@pytest.fixture
async def stuck(installation: Installation, runtime: MemoryRuntime) -> Sandbox:
    """Paused without memory, in a container that does not boot."""
    sandbox = await installation.service.create(NewSandbox(template="base", timeout_s=60, secure=True))
    await installation.service.pause(sandbox.id, memory=False)

    def refuse(operation: str, name: str) -> None:
        if (operation, name) == ("boot", sandbox.container):
            raise StuckContainer

    runtime.before = refuse
    return sandbox


async def test_it_goes_on_in_another_container(
    installation: Installation, runtime: MemoryRuntime, stuck: Sandbox
) -> None:
    resumed = await installation.service.resume(stuck.id, 60)
    assert resumed.container != stuck.container
    assert runtime.agent(resumed.container).inits[-1]["sandboxID"] == stuck.id
    await installation.tasks.finish(5)
    assert [info.name for info in await runtime.list_containers()] == [resumed.container]
    assert await installation.store.load_sandboxes() == [resumed]
    await installation.images.collect()
    assert await runtime.list_images() == [resumed.spec.build_id]
    await installation.service.kill(stuck.id)
    await installation.tasks.finish(5)
    await installation.images.collect()
    assert await runtime.list_images() == []


async def test_when_that_fails_too_nothing_is_lost_or_left(
    installation: Installation, runtime: MemoryRuntime, stuck: Sandbox
) -> None:
    refuse = runtime.before

    def refuse_more(operation: str, name: str) -> None:
        refuse(operation, name)
        if operation == "started":
            raise EngineError("no")

    runtime.before = refuse_more
    with pytest.raises(EngineError):
        await installation.service.resume(stuck.id, 60)
    await installation.tasks.finish(5)
    assert installation.service.get(stuck.id).state is SandboxState.PAUSED
    assert [info.name for info in await runtime.list_containers()] == [stuck.container]
    await installation.images.collect()
    assert await runtime.list_images() == []
