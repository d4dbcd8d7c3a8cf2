"""What a template starts runs, and is ready, whenever a sandbox of it can be used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandlot_server.errors import AgentError
from sandlot_server.installation import Installation
from sandlot_server.models import DEFAULT_TEAM, Context, NewSandbox, Start, Template
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.runtime.memory_agent import MemoryAgent

SERVE = ["/bin/bash", "-l", "-c", "serve"]
LOOK = ["/bin/bash", "-l", "-c", "look"]
START = Start("serve", "look", Context(user="root", workdir="/srv", env={"PORT": "80"}))
WANTED = NewSandbox(template="web", timeout_s=60, secure=True)


@pytest.fixture
async def web(installation: Installation) -> Template:
    base = installation.catalogue.resolve("base", DEFAULT_TEAM)
    template = replace(base, id="web", build_id="b-web", names=("web",), context=Context(user="web"), start=START)
    await installation.catalogue.save(template)
    return template


def agent_of(installation: Installation, sandbox_id: str) -> MemoryAgent:
    assert isinstance(installation.runtime, MemoryRuntime)
    return installation.runtime.agent(installation.service.get(sandbox_id).container)


async def test_it_is_started_before_the_sandbox_is_handed_out(installation: Installation, web: Template) -> None:
    sandbox = await installation.service.create(WANTED)
    agent = agent_of(installation, sandbox.id)
    assert agent.commands == [SERVE, LOOK]
    assert agent.inits[-1]["defaultUser"] == "web"
    assert agent.calls.index("POST /process.Process/Start") < len(agent.calls) - 1


async def test_it_is_started_again_by_a_fresh_boot(installation: Installation, web: Template) -> None:
    sandbox = await installation.service.create(WANTED)
    await installation.service.pause(sandbox.id, memory=False)
    await installation.service.resume(sandbox.id, 60)
    assert agent_of(installation, sandbox.id).commands == [SERVE, LOOK]


async def test_forks_and_snapshots_start_it_too(installation: Installation, web: Template) -> None:
    sandbox = await installation.service.create(WANTED)
    snapshot = await installation.snapshots.create(sandbox.id, None)
    assert (snapshot.start, snapshot.context) == (web.start, web.context)
    (fork,) = await installation.snapshots.fork(sandbox.id, 1, 60)
    assert not isinstance(fork, Exception)
    assert agent_of(installation, fork.id).commands == [SERVE, LOOK]


async def test_the_ready_command_is_tried_until_it_succeeds(installation: Installation, web: Template) -> None:
    assert isinstance(installation.runtime, MemoryRuntime)
    tries = iter([1, 1, 0])
    installation.runtime.decide = lambda argv: next(tries) if argv == LOOK else 0
    sandbox = await installation.service.create(WANTED)
    assert agent_of(installation, sandbox.id).commands == [SERVE, LOOK, LOOK, LOOK]


async def test_a_container_that_dies_while_it_is_awaited_leaves_nothing(
    installation: Installation, web: Template
) -> None:
    runtime = installation.runtime
    assert isinstance(runtime, MemoryRuntime)

    def die(argv: list[str]) -> int:
        raise ConnectionResetError

    runtime.decide = die
    with pytest.raises(AgentError):
        await installation.service.create(WANTED)
    await installation.tasks.finish(5)
    assert await runtime.list_containers() == []
    assert list(installation.registry) == []


async def test_a_template_with_a_start_command_survives_the_store(installation: Installation, web: Template) -> None:
    (loaded,) = [one for one in await installation.store.load_templates() if one.id == "web"]
    assert (loaded.start, loaded.context) == (web.start, web.context)
