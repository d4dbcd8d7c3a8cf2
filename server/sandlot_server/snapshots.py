"""Snapshots and forks: the files of a sandbox as a template, and other sandboxes made from it.

Files alone: processes are not carried over on a host that cannot checkpoint them, and this version asks none to.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from sandlot_server.creation import Creator
from sandlot_server.errors import Conflict, InvalidRequest, SandboxNotFound, SandlotError
from sandlot_server.freezing import Freezer
from sandlot_server.host_disk import HostDisk
from sandlot_server.images import Images
from sandlot_server.journal import Event, Journal
from sandlot_server.models import DEFAULT_TAG, Sandbox, SandboxSpec, SandboxState, Template, new_template_id, now
from sandlot_server.names import parse_own_name
from sandlot_server.pool import Pool
from sandlot_server.registry import Entry, Registry
from sandlot_server.runtime.base import Runtime
from sandlot_server.settings import Settings
from sandlot_server.templates import Catalogue, is_built_in

MAX_FORKS = 100


class Snapshots:
    """Makes, lists and removes snapshots, and forks sandboxes."""

    def __init__(
        self,
        settings: Settings,
        *,
        runtime: Runtime,
        catalogue: Catalogue,
        registry: Registry,
        freezer: Freezer,
        creator: Creator,
        pool: Pool,
        journal: Journal,
        images: Images,
        host_disk: HostDisk,
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._catalogue = catalogue
        self._registry = registry
        self._freezer = freezer
        self._creator = creator
        self._pool = pool
        self._journal = journal
        self._images = images
        self._host_disk = host_disk

    async def create(self, sandbox_id: str, name: str | None) -> Template:
        """Keep the files of a sandbox, running or paused, as a template that has `name`, or none.

        An own template that has the name already gets another build. Raises SandboxNotFound, Conflict,
        InvalidRequest (name), EngineError.
        """
        entry = self._require(sandbox_id)
        template_id, names, tag = self._place(name, entry.sandbox.spec.team)
        async with self._make_image(entry) as build:
            snapshot = replace(build, id=template_id, names=names, tag=tag)
            await self._catalogue.save(snapshot)
        self._journal.record(
            Event.SNAPSHOTTED, sandbox_id, f"is kept as {snapshot.id} (files only)", snapshot=snapshot.id
        )
        self._pool.retire()
        return snapshot

    def list_of(self, team: str) -> list[Template]:
        """Return all snapshots of a team."""
        found = (template for template in self._catalogue.list_tags() if template.source_sandbox is not None)
        return [template for template in found if template.team == team]

    async def fork(self, sandbox_id: str, count: int, timeout_s: int) -> list[Sandbox | SandlotError]:
        """Make `count` sandboxes with the files of a running one; each succeeds or fails by itself.

        Raises SandboxNotFound, Conflict, InvalidRequest (count), EngineError.
        """
        self._check_count(count)
        entry = self._require(sandbox_id)
        if entry.state is SandboxState.PAUSED:
            raise Conflict(f"Sandbox '{sandbox_id}' is paused and cannot be forked; resume it first")
        async with self._make_image(entry) as build:
            spec = replace(entry.sandbox.spec, build_id=build.build_id, timeout_s=timeout_s, idempotency=None)
            results = await asyncio.gather(*(self._make_fork(build, spec) for _ in range(count)))
        made = sum(isinstance(result, Sandbox) for result in results)
        self._journal.record(Event.SNAPSHOTTED, sandbox_id, f"was forked {made} times (files only)", forks=str(made))
        return results

    async def _make_fork(self, build: Template, spec: SandboxSpec) -> Sandbox | SandlotError:
        try:
            return await self._creator.create(build, spec, pooled=False)
        except SandlotError as error:
            return error

    @asynccontextmanager
    async def _make_image(self, entry: Entry) -> AsyncIterator[Template]:
        """Have the sandbox's files as an image; it stays for as long as a template or a sandbox is of that build."""
        self._host_disk.check()
        sandbox = entry.sandbox
        build_id = str(uuid.uuid4())
        with self._images.hold(build_id):
            async with self._freezer.standstill(entry):
                capture = await self._runtime.capture(sandbox.container)
            yield Template(
                id=sandbox.spec.template_id,
                build_id=build_id,
                names=(),
                image=await self._runtime.make_image(capture, build_id),
                cpu_count=sandbox.spec.cpu_count,
                memory_mb=sandbox.spec.memory_mb,
                created_at=now(),
                source_sandbox=sandbox.id,
                context=sandbox.spec.context,
                start=sandbox.spec.start,
                team=sandbox.spec.team,
            )

    def _place(self, name: str | None, team: str) -> tuple[str, tuple[str, ...], str]:
        """Template id, names and tag of a new snapshot."""
        if name is None:
            return new_template_id(), (), DEFAULT_TAG
        own, tag = parse_own_name(name, team)
        known = self._catalogue.find_id(own, team)
        if is_built_in(known):
            raise InvalidRequest(f"Invalid name: '{own}' is the name of a built-in template")
        if known is not None and not self._catalogue.is_of(known, team):
            raise InvalidRequest(f"Invalid name: '{own}' is the id of a template of another team")
        return known or new_template_id(), (own,), tag

    def _require(self, sandbox_id: str) -> Entry:
        entry = self._registry.get(sandbox_id)
        if entry is None or entry.state in (SandboxState.STARTING, SandboxState.KILLING):
            raise SandboxNotFound(sandbox_id)
        if not entry.state.is_settled:
            raise Conflict(f"Sandbox '{sandbox_id}' cannot be snapshotted while in '{entry.state}' state")
        return entry

    def _check_count(self, count: int) -> None:
        if count < 1:
            raise InvalidRequest("Count must be at least 1")
        if count > MAX_FORKS:
            raise InvalidRequest(f"Count cannot be greater than {MAX_FORKS}")
        if count >= self._settings.max_sandboxes:
            limit = self._settings.max_sandboxes
            raise InvalidRequest(f"Count must be lower than the maximum number of concurrent sandboxes ({limit})")
