"""Random lives of sandboxes, with containers and servers dying on the way: whatever happens, all agree in the end."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from sandlot_server.errors import CapacityExceeded, Conflict, SandboxNotFound
from sandlot_server.installation import open_installation
from sandlot_server.models import NewSandbox, SandboxState
from sandlot_server.runtime.base import Status
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings
from sandlot_server.store.memory import MemoryStore

STATUS = {SandboxState.RUNNING: Status.RUNNING, SandboxState.PAUSED: Status.PAUSED}


class Life(RuleBasedStateMachine):
    """`expected` is what a careful user would say about each sandbox: running, paused, without memory, or gone."""

    sandboxes = Bundle("sandboxes")

    @initialize(pool=st.integers(0, 2))
    def begin(self, pool: int) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.config = Settings(home=Path(self.folder.name), runtime="memory", pool_size=pool, max_sandboxes=6)
        self.runtime, self.store = MemoryRuntime(), MemoryStore()
        self.expected: dict[str, str] = {}
        self.run(self._open())

    async def _open(self) -> None:
        self.installation = open_installation(self.config, runtime=self.runtime, store=self.store)
        self.stack = AsyncExitStack()
        await self.stack.enter_async_context(self.installation.run())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @rule(target=sandboxes)
    def create(self) -> Any:
        try:
            made = self.run(self.installation.service.create(NewSandbox("base", 300, secure=True)))
        except CapacityExceeded:
            assert sum(state == "running" for state in self.expected.values()) >= 6
            return multiple()
        self.expected[made.id] = "running"
        return made.id

    @rule(sandbox=sandboxes, memory=st.booleans())
    def pause(self, sandbox: str, memory: bool) -> None:
        known = self.expected.get(sandbox, "gone")
        try:
            self.run(self.installation.service.pause(sandbox, memory=memory))
        except SandboxNotFound:
            assert known == "gone"
        except Conflict:
            assert known in ("paused", "without memory")
        else:
            assert known == "running"
            self.expected[sandbox] = "paused" if memory else "without memory"

    @rule(sandbox=sandboxes, memory=st.booleans())
    def connect(self, sandbox: str, memory: bool) -> None:
        known = self.expected.get(sandbox, "gone")
        before = None if known == "gone" else self.installation.service.get(sandbox).boot_id
        try:
            connected, resumed = self.run(self.installation.service.connect(sandbox, 60, memory=memory))
        except SandboxNotFound:
            assert known == "gone"
        except CapacityExceeded:
            assert known != "running"
        else:
            assert resumed == (known != "running")
            kept = known == "running" or (known == "paused" and memory)
            assert (connected.boot_id == before) is kept
            self.expected[sandbox] = "running"

    @rule(sandbox=sandboxes)
    def wake(self, sandbox: str) -> None:
        known = self.expected.get(sandbox, "gone")
        try:
            self.run(self.installation.service.wake(sandbox))
        except SandboxNotFound:
            assert known in ("gone", "without memory")
        except CapacityExceeded:
            assert known == "paused"
        else:
            assert known in ("running", "paused")
            self.expected[sandbox] = "running"

    @rule(sandbox=sandboxes)
    def snapshot(self, sandbox: str) -> None:
        try:
            self.run(self.installation.snapshots.create(sandbox, None))
        except SandboxNotFound:
            assert sandbox not in self.expected
        else:
            assert sandbox in self.expected

    @rule(sandbox=consumes(sandboxes))
    def kill(self, sandbox: str) -> None:
        try:
            self.run(self.installation.service.kill(sandbox))
        except SandboxNotFound:
            assert sandbox not in self.expected
        else:
            del self.expected[sandbox]

    @rule(sandbox=sandboxes)
    def end_of_timeout(self, sandbox: str) -> None:
        try:
            self.run(self.installation.service.set_timeout(sandbox, 0))
        except SandboxNotFound:
            assert self.expected.get(sandbox) != "running"
        else:
            self.run(self._until_gone(sandbox))
            del self.expected[sandbox]

    @rule(sandbox=sandboxes)
    def crash(self, sandbox: str) -> None:
        known = self.expected.get(sandbox, "gone")
        if known in ("gone", "without memory"):
            return
        container = self.installation.service.get(sandbox).container
        self.run(self.runtime.crash(container))
        if known == "running":
            self.run(self._until_gone(sandbox))
            del self.expected[sandbox]
        else:
            self.run(self._settle())
            self.expected[sandbox] = "without memory"

    @rule()
    def restart_server(self) -> None:
        self.run(self.stack.aclose())
        self.run(self._open())

    @rule()
    def restart_host(self) -> None:
        """No container runs after that, and nobody saw them end."""
        self.run(self.stack.aclose())
        for info in self.run(self.runtime.list_containers()):
            if info.status in (Status.RUNNING, Status.PAUSED):
                self.run(self.runtime.crash(info.name, "the host went down"))
        self.run(self._open())
        self.expected = dict.fromkeys(self.expected, "without memory")

    @rule()
    def sweep(self) -> None:
        self.run(self.installation.reconciler.sweep())
        self.run(self.installation.images.collect())

    async def _until_gone(self, sandbox: str) -> None:
        for _ in range(1000):
            entry = self.installation.registry.get(sandbox)
            if entry is None or entry.state is SandboxState.KILLING:
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"{sandbox} did not end")

    async def _settle(self) -> None:
        await asyncio.sleep(0.001)
        await self.installation.tasks.finish(5)

    @invariant()
    def all_agree(self) -> None:
        if not hasattr(self, "expected"):
            return
        self.run(self._settle())
        listed = {one.id: one for one in self.installation.service.list()}
        assert set(listed) == set(self.expected)
        rows = {one.id: one for one in self.run(self.store.load_sandboxes())}
        assert rows == listed
        infos = {info.name: info.status for info in self.run(self.runtime.list_containers())}
        for sandbox_id, known in self.expected.items():
            sandbox = listed[sandbox_id]
            assert sandbox.state is (SandboxState.RUNNING if known == "running" else SandboxState.PAUSED)
            assert sandbox.filesystem_only is (known == "without memory")
            wanted = Status.EXITED if known == "without memory" else STATUS[sandbox.state]
            assert infos.pop(sandbox.container) is wanted
            assert (self.installation.directory.find(sandbox_id) is not None) is (known == "running")
        strangers = [name for name in infos if not self.installation.pool.holds(name)]
        assert all(self.installation.containers.is_starting(name) for name in strangers), strangers

    def teardown(self) -> None:
        if hasattr(self, "expected"):
            self.run(self.stack.aclose())
            self.run(self.runtime.destroy())
            self.run(asyncio.sleep(0.01))  # connections that were being made as the server ended come to their end
            self.runner.close()
            self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=int(os.environ.get("FUZZ_CASES", "200")) // 8,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
