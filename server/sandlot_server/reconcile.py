"""Makes store and engine agree: after a crash, after the engine was away, and now and then in between."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta

from sandlot_server.activity import KEPT
from sandlot_server.border.policy import parse_policy
from sandlot_server.builds.service import Builds
from sandlot_server.containers import Containers
from sandlot_server.errors import AgentError, ContainerGone, EngineError, EngineUnavailable, SandlotError
from sandlot_server.freezing import Freezer
from sandlot_server.images import Images
from sandlot_server.models import SandboxState, now
from sandlot_server.pool import Pool
from sandlot_server.registry import Entry, Registry
from sandlot_server.removal import Remover
from sandlot_server.runtime.base import ContainerInfo, Death, Listening, Notice, Role, Runtime, Shortage, Status
from sandlot_server.sandboxes import SandboxService
from sandlot_server.shipped import Shipped
from sandlot_server.store.base import Store
from sandlot_server.teams import Teams
from sandlot_server.templates import Catalogue

log = logging.getLogger(__name__)

SWEEP_S = 60
RECONNECT_S = 1
KEPT_ENTRIES = 100_000
KEPT_SAMPLES = timedelta(days=1)
GONE = "its container is gone"
DIED_MEANWHILE = "its container ended while nobody watched"


class Reconciler:
    """Finishes what was half done, adopts what runs, removes what nobody knows."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        store: Store,
        registry: Registry,
        containers: Containers,
        catalogue: Catalogue,
        pool: Pool,
        remover: Remover,
        freezer: Freezer,
        service: SandboxService,
        images: Images,
        builds: Builds,
        teams: Teams,
        shipped: Shipped,
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._registry = registry
        self._containers = containers
        self._catalogue = catalogue
        self._pool = pool
        self._remover = remover
        self._freezer = freezer
        self._service = service
        self._images = images
        self._builds = builds
        self._teams = teams
        self._shipped = shipped
        self._may_have_missed = asyncio.Event()
        self._idle_tools: set[str] = set()
        self._is_new = False

    async def recover(self) -> None:
        """Take over what an earlier server left; call once, before anything else happens."""
        infos = {info.name: info for info in await self._runtime.list_containers()}
        sandboxes = await self._store.load_sandboxes()
        self._is_new = not infos and not sandboxes
        for sandbox in sandboxes:
            entry = self._registry.add(sandbox)
            info = infos.pop(sandbox.container, None)
            try:
                await self._recover(entry, info.status if info else None)
            except ContainerGone:
                await self._service.note_stop(entry, await self._explain(sandbox.container))
            except EngineUnavailable:
                raise
            except SandlotError as error:
                await self._remover.kill(entry, f"it could not be taken over after a restart: {error}")
        await self._confine()
        for info in infos.values():
            await self._adopt(info)
        await self._images.collect()

    async def _confine(self) -> None:
        """What sandboxes may reach holds on in the kernel; from here on this server answers for it."""
        policies = {entry.sandbox.container: parse_policy(entry.sandbox.spec.egress) for entry in self._registry}
        await self._runtime.confine_all({name: policy for name, policy in policies.items() if policy is not None})

    async def _recover(self, entry: Entry, status: Status | None) -> None:
        state = entry.state
        if state in (SandboxState.STARTING, SandboxState.KILLING):
            self._remover.discard(entry)
        elif status is None:
            await self._remover.kill(entry, GONE)
        elif state in (SandboxState.PAUSED, SandboxState.RESUMING):
            await self._recover_paused(entry, status)
        elif state is SandboxState.PAUSING and status is not Status.RUNNING:
            await self._recover_pausing(entry, status)
        elif status in (Status.RUNNING, Status.PAUSED):
            await self._recover_running(entry, status)
        else:
            await self._service.note_stop(entry, await self._explain(entry.sandbox.container))

    async def _explain(self, name: str) -> str:
        try:
            return f"{DIED_MEANWHILE}: {await self._runtime.explain_end(name)}"
        except EngineError as error:
            log.warning("why container %s ended is not known: %s", name, error)
            return DIED_MEANWHILE

    async def _recover_running(self, entry: Entry, status: Status) -> None:
        """It runs, or something stopped it on its way: let it go on."""
        name = entry.sandbox.container
        if status is Status.PAUSED:
            await self._runtime.unpause(name)
        container = await self._runtime.attach(name)
        if entry.state is not SandboxState.RUNNING or status is Status.PAUSED:
            try:
                await self._containers.agent_of(container).unfreeze()
            except AgentError as error:
                log.warning("%s runs, but its agent does not answer yet: %s", entry.sandbox.id, error)
        self._registry.place(entry, container)
        await self._store.save_sandbox(entry.change(SandboxState.RUNNING, filesystem_only=False))
        self._service.expiry.schedule(entry.sandbox.id, entry.sandbox.end_at)

    async def _recover_pausing(self, entry: Entry, status: Status) -> None:
        """The engine had paused it, or ended it on purpose: what is left is to say so."""
        if status is Status.PAUSED or entry.sandbox.filesystem_only:
            await self._store.save_sandbox(entry.change(SandboxState.PAUSED))
        else:
            await self._service.note_stop(entry, await self._explain(entry.sandbox.container))

    async def _recover_paused(self, entry: Entry, status: Status) -> None:
        """It is paused, or a resume that nobody was told of had begun: take that back."""
        name = entry.sandbox.container
        without_memory = entry.sandbox.filesystem_only or status in (Status.EXITED, Status.CREATED)
        if without_memory and status in (Status.RUNNING, Status.PAUSED):
            await self._runtime.halt(name)
        elif status is Status.RUNNING:
            await self._runtime.pause(name)
        await self._store.save_sandbox(entry.change(SandboxState.PAUSED))
        if without_memory and not entry.sandbox.filesystem_only:
            await self._freezer.note_lost_memory(entry, await self._explain(name))
        elif entry.sandbox.stopped:
            self._service.expiry.schedule(entry.sandbox.id, entry.sandbox.end_at)

    async def _adopt(self, info: ContainerInfo) -> None:
        """Let a container without a row wait in the pool, if it is fit for that; else remove it."""
        template = self._catalogue.find_build(info.build_id)
        fit = info.current and info.role == Role.SANDBOX and info.status is Status.RUNNING
        # With a start command nobody knows how far it had come.
        if fit and template is not None and template.start is None:
            try:
                container = await self._runtime.attach(info.name)
                if await self._containers.is_healthy(container) and self._pool.adopt(template, container):
                    return
            except SandlotError as error:
                log.warning("container %s cannot wait in the pool: %s", info.name, error)
        self._remover.remove_container(info.name)

    async def sweep(self) -> None:
        """Compare while everything goes on: note deaths that were missed, remove what nobody knows."""
        infos = await self._runtime.list_containers()
        alive = {info.name for info in infos if info.status in (Status.RUNNING, Status.PAUSED)}
        ended = {info.name for info in infos} - alive
        for entry in self._registry:
            if entry.state is SandboxState.KILLING:
                self._remover.dispose(entry)
            elif entry.state is not SandboxState.STARTING and entry.sandbox.container not in alive:
                # In the middle of an operation too: the note is looked at again once that has come to its end.
                await self._note_missed_death(entry, ended)
            else:
                await self._agree(entry, infos)
        for name in ended:
            if self._pool.holds(name) and not await self._containers.is_alive(name):
                self._pool.forget(name)
        await self._remove_strangers(infos)
        self._remove_tools(infos)

    async def _agree(self, entry: Entry, infos: list[ContainerInfo]) -> None:
        status = next((info.status for info in infos if info.name == entry.sandbox.container), None)
        told = {SandboxState.RUNNING: Status.PAUSED, SandboxState.PAUSED: Status.RUNNING}.get(entry.state)
        if status is not None and status is told:
            try:
                await self._freezer.agree(entry)
            except SandlotError as error:
                log.warning("%s and its container could not be brought together: %s", entry.sandbox.id, error)

    async def _note_missed_death(self, entry: Entry, ended: set[str]) -> None:
        name = entry.sandbox.container
        if name not in ended:
            self._service.note_death(Death(name, GONE))
        elif not entry.state.is_settled or not entry.sandbox.filesystem_only:
            self._service.note_death(Death(name, await self._explain(name), stopped=True))

    async def _remove_strangers(self, infos: list[ContainerInfo]) -> None:
        """Remove containers that nobody knows. Some of the list may have been known, and removed, since it was made."""
        strangers = {info.name for info in infos if info.role == Role.SANDBOX and not self._is_known(info.name)}
        if strangers:
            strangers &= {info.name for info in await self._runtime.list_containers()}
        for name in strangers:
            if not self._is_known(name):
                log.warning("container %s belongs to no sandbox and is removed", name)
                self._remover.remove_container(name)

    def _remove_tools(self, infos: list[ContainerInfo]) -> None:
        """Remove helpers that an engine which went away left: those that have not run in two sweeps."""
        idle = {info.name for info in infos if info.role == Role.TOOL and info.status is not Status.RUNNING}
        for name in idle & self._idle_tools:
            self._remover.remove_container(name)
        self._idle_tools = idle

    def _is_known(self, name: str) -> bool:
        busy = self._containers.is_starting(name) or self._remover.is_removing(name)
        return busy or self._pool.holds(name) or self._registry.find_container(name) is not None

    async def run(self) -> None:
        """Sweep now and then until cancelled."""
        while True:
            is_back = await self._wait()
            try:
                await self.sweep()
                # Where nothing has ever run, nothing can have been left.
                if is_back and not self._is_new:
                    await self._end_leftovers()
                self._is_new = False
                await self._shipped.adopt_all()
                await self._catalogue.save_uses()
                await self._teams.save_uses()
                await self._builds.forget()
                await self._images.collect()
                await self._store.prune(
                    keep_entries=KEPT_ENTRIES, samples_before=now() - KEPT_SAMPLES, activity_before=now() - KEPT
                )
            except SandlotError as error:
                log.warning("store and engine could not be compared: %s", error)

    async def _wait(self) -> bool:
        """Return when it is time to sweep, and whether that is because the engine listens again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_S):
                await self._may_have_missed.wait()
        is_back = self._may_have_missed.is_set()
        self._may_have_missed.clear()
        return is_back

    async def _end_leftovers(self) -> None:
        for name in await self._runtime.end_leftovers():
            log.warning("%s was not what the engine took it for: it was ended, or woken", name)

    async def watch(self) -> None:
        """Follow what happens to containers until cancelled, through any number of restarts of the engine."""
        while True:
            try:
                async for notice in self._runtime.watch():
                    self._note(notice)
            except SandlotError as error:
                log.warning("the engine went away: %s", error)
            await asyncio.sleep(RECONNECT_S)

    def _note(self, notice: Notice) -> None:
        match notice:
            case Death():
                self._service.note_death(notice)
            case Shortage(container):
                self._service.note_shortage(container)
            case Listening():
                self._may_have_missed.set()
