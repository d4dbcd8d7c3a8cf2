"""The end of sandboxes and of containers. What is begun here is finished: by this server, or by the next one."""

from __future__ import annotations

import asyncio
import logging

from sandlot_server.errors import SandlotError
from sandlot_server.history import History
from sandlot_server.journal import Event, Journal
from sandlot_server.models import SandboxState
from sandlot_server.registry import Entry, Registry
from sandlot_server.runtime.base import Runtime
from sandlot_server.store.base import Store
from sandlot_server.tasks import Tasks

log = logging.getLogger(__name__)

TRIES = 3
PAUSE_S = 0.5


class Remover:
    """Kills sandboxes: first they become unreachable, then the answer may go out, then the container is removed."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        store: Store,
        registry: Registry,
        journal: Journal,
        history: History,
        tasks: Tasks,
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._registry = registry
        self._journal = journal
        self._history = history
        self._tasks = tasks
        self._removing: set[str] = set()

    async def kill(self, entry: Entry, reason: str) -> None:
        """Make the sandbox dead, for good; returns once that is saved. Nothing happens when it is dead already."""
        if entry.state is SandboxState.KILLING:
            return
        sandbox = entry.change(SandboxState.KILLING)
        self._registry.cut_off(sandbox.id)
        self._journal.record(Event.KILLED, sandbox.id, f"is gone: {reason}", reason=reason)
        try:
            await self._store.save_sandbox(sandbox)
        finally:
            self.dispose(entry)

    def discard(self, entry: Entry) -> None:
        """Remove a sandbox that never came to life."""
        entry.change(SandboxState.KILLING)
        self._registry.cut_off(entry.sandbox.id)
        self.dispose(entry)

    def dispose(self, entry: Entry) -> None:
        """Remove the container and then the row of a dead sandbox, in the background."""
        if entry.sandbox.container in self._removing:
            return
        self._tasks.spawn(self._dispose(entry), f"removal of {entry.sandbox.id}")

    def remove_container(self, name: str) -> None:
        """Remove a container that is no sandbox, in the background."""
        self._tasks.spawn(self._remove(name), f"removal of {name}")

    def is_removing(self, name: str) -> bool:
        """Whether this container is being removed at this moment."""
        return name in self._removing

    async def _dispose(self, entry: Entry) -> None:
        await self._history.keep(entry.sandbox.id, entry.sandbox.container)
        if await self._remove(entry.sandbox.container):
            await self._store.delete_sandbox(entry.sandbox.id)
            self._registry.remove(entry.sandbox.id)

    async def _remove(self, name: str) -> bool:
        """Whether the container is removed; if not, the reconciler comes back to it."""
        self._removing.add(name)
        try:
            for attempt in range(1, TRIES + 1):
                try:
                    await self._runtime.remove(name)
                    return True
                except SandlotError as error:
                    log.warning("container %s could not be removed (try %d): %s", name, attempt, error)
                    await asyncio.sleep(PAUSE_S * attempt)
            return False
        finally:
            self._removing.discard(name)
