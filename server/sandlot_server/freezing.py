"""Pausing and resuming.

The agent is told before its processes stand still and after they go on, since clocks run on meanwhile.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from sandlot_server.containers import Containers
from sandlot_server.errors import AgentError, Conflict, EngineError, SandlotError, StuckContainer
from sandlot_server.journal import Event, Journal
from sandlot_server.models import SandboxState, now, seconds
from sandlot_server.moving import Mover
from sandlot_server.registry import Entry, Registry
from sandlot_server.runtime.base import Container, Runtime
from sandlot_server.store.base import Store

log = logging.getLogger(__name__)

MIB = 1024 * 1024


class Freezer:
    """Moves sandboxes between running and paused."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        store: Store,
        registry: Registry,
        containers: Containers,
        journal: Journal,
        mover: Mover,
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._registry = registry
        self._containers = containers
        self._journal = journal
        self._mover = mover

    async def pause(self, entry: Entry, *, memory: bool, require_healthy: bool) -> None:
        """Pause a running sandbox. When the engine fails, the sandbox runs on; raises EngineError then."""
        name = entry.sandbox.container
        await self._store.save_sandbox(entry.change(SandboxState.PAUSING, filesystem_only=not memory))
        self._registry.cut_off(entry.sandbox.id)
        try:
            await self._tell_freeze(entry, require_healthy)
            await (self._runtime.pause(name) if memory else self._runtime.halt(name))
        except SandlotError:
            await self._store.save_sandbox(entry.change(SandboxState.RUNNING, filesystem_only=False))
            await self._tell_unfreeze(entry)
            raise
        await self._store.save_sandbox(entry.change(SandboxState.PAUSED, end_at=now()))
        mode = "full" if memory else "filesystem"
        self._journal.record(Event.PAUSED, entry.sandbox.id, f"paused{'' if memory else ' without memory'}", mode=mode)

    async def resume(self, entry: Entry, timeout_s: int, *, memory: bool, auto_pause: bool | None) -> None:
        """Resume a paused sandbox. When that fails it stays paused; raises EngineError or AgentError then."""
        afresh = entry.sandbox.filesystem_only or not memory
        await self._store.save_sandbox(entry.change(SandboxState.RESUMING))
        try:
            container = await (self._reboot(entry) if afresh else self._thaw(entry))
        except SandlotError:
            await self._store.save_sandbox(entry.change(SandboxState.PAUSED))
            raise
        self._registry.place(entry, container)
        if auto_pause is not None:
            lifecycle = replace(entry.sandbox.spec.lifecycle, auto_pause=auto_pause)
            entry.sandbox = replace(entry.sandbox, spec=replace(entry.sandbox.spec, lifecycle=lifecycle))
        began = now()
        row = entry.change(
            SandboxState.RUNNING,
            stopped=False,
            started_at=began,
            end_at=began + seconds(timeout_s),
            filesystem_only=False,
        )
        await self._store.save_sandbox(row)
        mode = "filesystem" if afresh else "full"
        self._journal.record(
            Event.RESUMED, entry.sandbox.id, f"resumed{' by a fresh boot' if afresh else ''}", mode=mode
        )

    async def agree(self, entry: Entry) -> None:
        """Make a settled sandbox's container stand still or go on, as the sandbox is said to; raises EngineError.

        An engine that is killed in the middle may have done what was then counted as failed.
        """
        was, name = entry.state, entry.sandbox.container
        # Not saved: what is saved is what the container comes to.
        entry.change(SandboxState.PAUSING if was is SandboxState.PAUSED else SandboxState.RESUMING)
        try:
            if was is SandboxState.RUNNING:
                await self._tell_unfreeze(entry)
            else:
                await (self._runtime.halt(name) if entry.sandbox.filesystem_only else self._runtime.pause(name))
        finally:
            entry.change(was)
        log.warning("the container of %s did not know that the sandbox is %s", entry.sandbox.id, was)

    async def push_out(self, entry: Entry) -> None:
        """Let a paused sandbox take up no memory, where the host has swap."""
        try:
            moved = await self._runtime.push_out(entry.sandbox.container)
        except EngineError as error:
            log.debug("the memory of %s stays: %s", entry.sandbox.id, error)
            return
        if moved:
            log.info("%s is paused, and %d MiB of its memory are in swap", entry.sandbox.id, moved // MIB)

    @asynccontextmanager
    async def standstill(self, entry: Entry) -> AsyncIterator[None]:
        """Hold a sandbox still for the length of a block; connections to it stay. Raises EngineError.

        One that is paused stands still already.
        """
        if entry.state is SandboxState.PAUSED:
            yield
            return
        name = entry.sandbox.container
        await self._store.save_sandbox(entry.change(SandboxState.SNAPSHOTTING))
        try:
            await self._tell_freeze(entry, require_healthy=False)
            await self._runtime.pause(name)
            yield
        finally:
            await self._tell_unfreeze(entry)
            await self._store.save_sandbox(entry.change(SandboxState.RUNNING))

    async def note_lost_memory(self, entry: Entry, reason: str) -> None:
        """The container has ended, and not by its own fault: what is left of the sandbox are its files."""
        was = "paused" if entry.state is SandboxState.PAUSED else "running"
        # One that would be paused at its end anyway stays; any other still has its end.
        ends = was == "running" and not entry.sandbox.spec.lifecycle.auto_pause
        row = entry.change(SandboxState.PAUSED, filesystem_only=True, stopped=ends or entry.sandbox.stopped)
        self._registry.cut_off(row.id)
        message = f"lost its memory while {was} ({reason}); its files are kept, and it will boot afresh"
        self._journal.record(Event.MEMORY_LOST, row.id, message, level="warn", reason=reason)
        await self._store.save_sandbox(row)

    async def _thaw(self, entry: Entry) -> Container:
        name = entry.sandbox.container
        await self._runtime.unpause(name)
        container = await self._runtime.attach(name)
        await self._containers.agent_of(container).unfreeze()
        return container

    async def _reboot(self, entry: Entry) -> Container:
        """Start the container afresh; from here on there is no memory left to fall back to."""
        name = entry.sandbox.container
        await self._runtime.halt(name)
        await self._store.save_sandbox(entry.change(boot_id=str(uuid.uuid4()), filesystem_only=True))
        try:
            container = await self._containers.boot(name)
        except StuckContainer:
            container = await self._mover.move(entry)
        await self._containers.claim(container, entry.sandbox)
        await self._containers.restart(container, entry.sandbox)
        return container

    async def _tell_freeze(self, entry: Entry, require_healthy: bool) -> None:
        assert entry.container is not None
        try:
            await self._containers.agent_of(entry.container).freeze()
        except AgentError as error:
            if require_healthy:
                raise Conflict(f"the sandbox's agent does not answer, so it is not paused: {error}") from error
            log.warning("%s is paused although its agent does not answer: %s", entry.sandbox.id, error)

    async def _tell_unfreeze(self, entry: Entry) -> None:
        assert entry.container is not None
        try:
            await self._runtime.unpause(entry.sandbox.container)
        except EngineError as error:
            log.debug("%s needed no unpause: %s", entry.sandbox.id, error)
        try:
            await self._containers.agent_of(entry.container).unfreeze()
        except AgentError as error:
            log.error("%s does not answer after a pause that failed: %s", entry.sandbox.id, error)
