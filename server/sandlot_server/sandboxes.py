"""The life of sandboxes: every rule of creating, finding, keeping alive, pausing and killing them.

One operation at a time: the state says which, and it is saved before the operation begins, so that a server that
crashes in the middle knows afterwards what to finish or to undo (see reconcile.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from sandlot_server.containers import Containers
from sandlot_server.creation import Creator
from sandlot_server.errors import (
    Conflict,
    InvalidRequest,
    KeyReused,
    SandboxNotFound,
    SandlotError,
)
from sandlot_server.expiry import Expiry
from sandlot_server.freezing import Freezer
from sandlot_server.host_disk import HostDisk
from sandlot_server.journal import Event, Journal
from sandlot_server.models import (
    Egress,
    Idempotency,
    NewSandbox,
    Sandbox,
    SandboxSpec,
    SandboxState,
    Template,
    now,
    seconds,
)
from sandlot_server.pool import Pool
from sandlot_server.registry import REACHABLE, Entry, Registry
from sandlot_server.removal import Remover
from sandlot_server.runtime.base import Death
from sandlot_server.settings import Settings
from sandlot_server.store.base import Store
from sandlot_server.tasks import Tasks
from sandlot_server.templates import Catalogue

log = logging.getLogger(__name__)

HOUR_S = 3600
RETRY_EXPIRY_S = 5
MIN_WAKE_S = 300
"""A sandbox woken by traffic lives at least this long."""
BUSY = {
    SandboxState.STARTING: "being started",
    SandboxState.PAUSING: "being paused",
    SandboxState.RESUMING: "being resumed",
    SandboxState.SNAPSHOTTING: "being snapshotted",
}


class SandboxService:
    """All sandboxes of this installation."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        resolve: Callable[[str, str], Awaitable[Template]],
        catalogue: Catalogue,
        registry: Registry,
        containers: Containers,
        pool: Pool,
        freezer: Freezer,
        remover: Remover,
        journal: Journal,
        tasks: Tasks,
        host_disk: HostDisk,
    ) -> None:
        self._settings = settings
        self._store = store
        self._resolve = resolve
        self._catalogue = catalogue
        self._registry = registry
        self._containers = containers
        self._pool = pool
        self._freezer = freezer
        self._remover = remover
        self._journal = journal
        self._tasks = tasks
        self.expiry = Expiry(self._ring)
        self.creator = Creator(
            settings,
            store=store,
            registry=registry,
            containers=containers,
            pool=pool,
            remover=remover,
            journal=journal,
            expiry=self.expiry,
            host_disk=host_disk,
        )

    async def create(self, wanted: NewSandbox) -> Sandbox:
        """Return a new sandbox whose agent answers.

        A request that repeats the idempotency key of one that is alive gets the same sandbox.
        Raises NotFound (template), InvalidRequest (timeout), CapacityExceeded, KeyReused, EngineError or AgentError;
        after a failure nothing of the sandbox is left.
        """
        if (
            wanted.idempotency is not None
            and (made := await self._find_made(wanted.idempotency, wanted.team)) is not None
        ):
            return made
        template = await self._resolve(wanted.template, wanted.team)
        self.check_timeout(wanted.timeout_s)
        sandbox = await self.creator.create(template, _specify(wanted, template))
        self._catalogue.note_use(template.id)
        return sandbox

    async def _find_made(self, idempotency: Idempotency, team: str) -> Sandbox | None:
        """Return the sandbox that an earlier request with this key made, once it is made; raises KeyReused."""
        while (entry := self._registry.find_key(idempotency.key, team)) is not None:
            if entry.sandbox.spec.idempotency != idempotency:
                raise KeyReused
            if entry.state.is_settled:
                return entry.sandbox
            await entry.settled.wait()
        return None

    def check_timeout(self, timeout_s: int) -> None:
        """Raise InvalidRequest unless a sandbox may be given this time."""
        if timeout_s <= 0:
            raise InvalidRequest("Timeout must be greater than 0")
        if timeout_s > self._settings.max_timeout_hours * HOUR_S:
            raise InvalidRequest(f"Timeout cannot be greater than {self._settings.max_timeout_hours} hours")

    def get(self, sandbox_id: str) -> Sandbox:
        """Return a sandbox; raises SandboxNotFound."""
        return self._require(sandbox_id).sandbox

    def list(self, team: str | None = None) -> list[Sandbox]:
        """Return all sandboxes, or those of a team, that a client may see, in no particular order."""
        hidden = (SandboxState.STARTING, SandboxState.KILLING)
        found = [entry.sandbox for entry in self._registry if entry.state not in hidden]
        return [sandbox for sandbox in found if team in (None, sandbox.spec.team)]

    async def set_timeout(self, sandbox_id: str, timeout_s: int) -> None:
        """Let a running sandbox end `timeout_s` seconds from now; 0 ends it at once.

        Raises SandboxNotFound when it does not run and Conflict while an operation is under way.
        """
        entry = self._require_running(sandbox_id)
        await self._move_end(entry, self._end_after(entry, max(timeout_s, 0)))

    async def extend(self, sandbox_id: str, timeout_s: int) -> None:
        """Let a running sandbox live at least `timeout_s` seconds more; raises as `set_timeout` does."""
        entry = self._require_running(sandbox_id)
        end_at = self._end_after(entry, timeout_s)
        if end_at > entry.sandbox.end_at:
            await self._move_end(entry, end_at)

    async def set_egress(self, sandbox_id: str, egress: Egress) -> None:
        """Let a running sandbox reach what `egress` says and nothing else, connections that are open included.

        Raises SandboxNotFound when it does not run, Conflict while an operation is under way, InvalidRequest,
        IsolationFailed.
        """
        entry = self._require_running(sandbox_id)
        assert entry.container is not None
        await self._containers.confine(entry.container, egress)
        if entry.state is SandboxState.KILLING:
            raise SandboxNotFound(sandbox_id)
        entry.sandbox = replace(entry.sandbox, spec=replace(entry.sandbox.spec, egress=egress))
        await self._store.save_sandbox(entry.sandbox)

    def _end_after(self, entry: Entry, timeout_s: int) -> datetime:
        limit = entry.sandbox.started_at + seconds(self._settings.max_timeout_hours * HOUR_S)
        return min(now() + seconds(timeout_s), limit)

    async def _move_end(self, entry: Entry, end_at: datetime) -> None:
        await self._store.save_sandbox(entry.change(end_at=end_at))
        if entry.state in REACHABLE:
            self.expiry.schedule(entry.sandbox.id, end_at)

    async def connect(self, sandbox_id: str, timeout_s: int, *, memory: bool = True) -> tuple[Sandbox, bool]:
        """Make sure that the sandbox runs and lives `timeout_s` seconds more.

        Returns it and whether it had to be resumed. Waits for an operation that is under way.
        Raises SandboxNotFound, InvalidRequest (timeout), and as `resume` does.
        """
        if timeout_s > self._settings.max_timeout_hours * HOUR_S:
            raise InvalidRequest(f"Timeout cannot be greater than {self._settings.max_timeout_hours} hours")
        entry = await self._settle(sandbox_id)
        if entry.state is SandboxState.RUNNING:
            await self.extend(sandbox_id, timeout_s)
            return entry.sandbox, False
        return await self.resume(sandbox_id, timeout_s, memory=memory), True

    async def pause(self, sandbox_id: str, *, memory: bool = True, require_healthy: bool = False) -> None:
        """Stop a running sandbox where it is; without `memory` only its files are kept.

        Raises SandboxNotFound, Conflict (paused, or an operation under way), EngineError.
        """
        entry = self._require(sandbox_id)
        if entry.state is SandboxState.PAUSED:
            raise Conflict(f"Error pausing sandbox - sandbox '{sandbox_id}' is already paused")
        if entry.state is not SandboxState.RUNNING:
            raise Conflict(f"Sandbox '{sandbox_id}' cannot be paused while in '{entry.state}' state")
        self.expiry.cancel(sandbox_id)
        try:
            await self._freezer.pause(entry, memory=memory, require_healthy=require_healthy)
            if memory:
                self._tasks.spawn(self._freezer.push_out(entry), f"moving of the memory of {sandbox_id}")
        finally:
            if entry.state is SandboxState.RUNNING:
                self.expiry.schedule(sandbox_id, entry.sandbox.end_at)

    async def resume(
        self, sandbox_id: str, timeout_s: int, *, memory: bool = True, auto_pause: bool | None = None
    ) -> Sandbox:
        """Let a paused sandbox go on, for `timeout_s` seconds; without `memory` it boots afresh on its files.

        Raises SandboxNotFound, Conflict when it runs already, CapacityExceeded, EngineError, AgentError.
        """
        self.check_timeout(timeout_s)
        entry = await self._settle(sandbox_id)
        if entry.state is SandboxState.RUNNING:
            raise Conflict(f"Sandbox {sandbox_id} is already running")
        self.creator.admit(entry.sandbox.spec.memory_mb)
        await self._freezer.resume(entry, timeout_s, memory=memory, auto_pause=auto_pause)
        self.expiry.schedule(sandbox_id, entry.sandbox.end_at)
        return entry.sandbox

    async def wake(self, sandbox_id: str) -> None:
        """Resume a sandbox because somebody talks to it; nothing happens when it runs.

        Whoever asked may go away meanwhile: what was begun is finished.
        Raises SandboxNotFound also when it has no memory to go on with; else as `resume` does.
        """
        await asyncio.shield(self._tasks.spawn(self._wake(sandbox_id), f"waking of {sandbox_id}"))

    async def _wake(self, sandbox_id: str) -> None:
        entry = await self._settle(sandbox_id)
        if entry.state is SandboxState.RUNNING:
            return
        if entry.sandbox.filesystem_only:
            raise SandboxNotFound(sandbox_id)
        await self.resume(sandbox_id, max(entry.sandbox.spec.timeout_s, MIN_WAKE_S))

    async def kill(self, sandbox_id: str, reason: str = "killed by request") -> None:
        """End a sandbox, paused or running; it is unreachable and forgotten when this returns.

        Waits for an operation that is under way. Raises SandboxNotFound.
        """
        entry = await self._settle(sandbox_id)
        self.expiry.cancel(sandbox_id)
        await self._remover.kill(entry, reason)

    def note_death(self, death: Death) -> None:
        """Take note that a container may have ended, by itself or by our hand."""
        self._pool.forget(death.container)
        if self._containers.is_starting(death.container):
            self._tasks.spawn(self._containers.note_death(death.container, death.reason), f"end of {death.container}")
        entry = self._registry.find_container(death.container)
        if entry is not None:
            self._tasks.spawn(self._note_end(entry, death), f"end of {entry.sandbox.id}")

    async def _note_end(self, entry: Entry, death: Death) -> None:
        """Act on the death of a sandbox's container, unless that was meant or the container runs again."""
        await entry.settled.wait()
        sandbox = entry.sandbox
        meant = entry.state is SandboxState.KILLING or sandbox.filesystem_only
        if meant or sandbox.container != death.container or await self._containers.is_alive(death.container):
            return
        if entry.state is SandboxState.PAUSED:
            await self._freezer.note_lost_memory(entry, death.reason)
        elif death.stopped:
            await self.note_stop(entry, death.reason)
        else:
            self.expiry.cancel(sandbox.id)
            await self._remover.kill(entry, death.reason)

    async def note_stop(self, entry: Entry, reason: str) -> None:
        """The container of a sandbox that ran was stopped from outside: what is left are its files, until its end."""
        await self._freezer.note_lost_memory(entry, reason)
        self.expiry.cancel(entry.sandbox.id)
        if entry.sandbox.stopped:
            self.expiry.schedule(entry.sandbox.id, entry.sandbox.end_at)

    def note_shortage(self, container: str) -> None:
        """Tell that a sandbox has no memory left; it goes on without the process that the kernel has killed."""
        entry = self._registry.find_container(container)
        if entry is not None:
            limit = f"{entry.sandbox.spec.memory_mb} MiB"
            message = f"is out of memory ({limit}): the kernel has killed one of its processes"
            self._journal.record(Event.OUT_OF_MEMORY, entry.sandbox.id, message, level="warn")

    def _ring(self, sandbox_id: str) -> None:
        self._tasks.spawn(self._expire(sandbox_id), f"end of {sandbox_id}")

    async def _expire(self, sandbox_id: str) -> None:
        """End a sandbox whose time is over; an operation that is under way comes to its end first."""
        entry = self._registry.get(sandbox_id)
        if entry is None:
            return
        await entry.settled.wait()
        if entry.state is not SandboxState.RUNNING and not self._is_stopped(entry):
            return
        if entry.sandbox.end_at > now():  # it was moved meanwhile
            self.expiry.schedule(sandbox_id, entry.sandbox.end_at)
            return
        lifecycle = entry.sandbox.spec.lifecycle
        if not lifecycle.auto_pause:
            await self._remover.kill(entry, "end of its timeout")
            return
        try:
            await self.pause(sandbox_id, memory=lifecycle.auto_pause_memory)
        except SandlotError as error:
            log.error("%s could not be paused at its end: %s", sandbox_id, error)
            self.expiry.schedule(sandbox_id, now() + seconds(RETRY_EXPIRY_S))

    def _is_stopped(self, entry: Entry) -> bool:
        return entry.state is SandboxState.PAUSED and entry.sandbox.stopped

    async def _settle(self, sandbox_id: str) -> Entry:
        """Return the entry once no operation is under way."""
        while True:
            entry = self._require(sandbox_id)
            if entry.state.is_settled:
                return entry
            await entry.settled.wait()

    def _require(self, sandbox_id: str) -> Entry:
        entry = self._registry.get(sandbox_id)
        if entry is None or entry.state in (SandboxState.STARTING, SandboxState.KILLING):
            raise SandboxNotFound(sandbox_id)
        return entry

    def _require_running(self, sandbox_id: str) -> Entry:
        entry = self._require(sandbox_id)
        if entry.state is SandboxState.PAUSED:
            raise SandboxNotFound(sandbox_id)
        if entry.state not in (SandboxState.RUNNING, SandboxState.SNAPSHOTTING):
            raise Conflict(f'Sandbox "{sandbox_id}" is {BUSY[entry.state]}')
        return entry


def _specify(wanted: NewSandbox, template: Template) -> SandboxSpec:
    """What the sandbox of a request is for all its life."""
    return SandboxSpec(
        template_id=template.id,
        build_id=template.build_id,
        alias=template.alias,
        cpu_count=template.cpu_count,
        memory_mb=template.memory_mb,
        timeout_s=wanted.timeout_s,
        secure=wanted.secure,
        metadata=wanted.metadata,
        env_vars=wanted.env_vars,
        lifecycle=wanted.lifecycle,
        ingress=wanted.ingress,
        egress=wanted.egress,
        mcp_servers=wanted.mcp_servers,
        idempotency=wanted.idempotency,
        context=template.context,
        start=template.start,
        team=wanted.team,
    )
