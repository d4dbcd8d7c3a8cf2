"""From a specification to a sandbox whose agent answers."""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter

from sandlot_server.border.policy import parse_policy
from sandlot_server.containers import Containers
from sandlot_server.errors import AgentError, CapacityExceeded
from sandlot_server.expiry import Expiry
from sandlot_server.host_disk import HostDisk
from sandlot_server.journal import Event, Journal
from sandlot_server.models import Sandbox, SandboxSpec, SandboxState, Template, new_sandbox_id, now, seconds
from sandlot_server.pool import Pool
from sandlot_server.registry import Entry, Registry
from sandlot_server.removal import Remover
from sandlot_server.runtime.base import Container
from sandlot_server.settings import Settings
from sandlot_server.store.base import Store

log = logging.getLogger(__name__)


class Creator:
    """Makes sandboxes: the row first, then the container, from the pool where one waits."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        registry: Registry,
        containers: Containers,
        pool: Pool,
        remover: Remover,
        journal: Journal,
        expiry: Expiry,
        host_disk: HostDisk,
    ) -> None:
        self._settings = settings
        self._store = store
        self._registry = registry
        self._containers = containers
        self._pool = pool
        self._remover = remover
        self._journal = journal
        self._expiry = expiry
        self._host_disk = host_disk
        self.made: Counter[str] = Counter()
        """Sandboxes made since the start of the server, by team."""

    def admit(self, memory_mb: int) -> None:
        """Raise CapacityExceeded when one more sandbox, with this memory limit, is too much."""
        limit_mb = self._settings.max_memory_mb
        if limit_mb is not None and self._registry.count_memory_mb() + memory_mb > limit_mb:
            raise CapacityExceeded(
                f"running sandboxes already have {self._registry.count_memory_mb()} of {limit_mb} MiB of memory; "
                "kill or pause some, or raise SANDLOT_MAX_MEMORY_MB"
            )
        if self._registry.count_active() >= self._settings.max_sandboxes:
            raise CapacityExceeded(
                f"you have reached the maximum number of concurrent sandboxes ({self._settings.max_sandboxes}); "
                "kill or pause some, or raise SANDLOT_MAX_SANDBOXES"
            )

    async def create(self, template: Template, spec: SandboxSpec, *, pooled: bool = True) -> Sandbox:
        """Return a new sandbox whose agent answers.

        Raises CapacityExceeded, DiskFull, EngineError or AgentError; after a failure nothing of the sandbox is left.
        """
        began = time.perf_counter()
        self.admit(spec.memory_mb)
        self._host_disk.check()
        # What a template starts in a container that waits is not bound by a policy that nobody knew of then.
        ran_unbound = template.start is not None and parse_policy(spec.egress) is not None
        warm = self._pool.take(template) if pooled and not ran_unbound else None
        entry = self._register(spec, warm.name if warm else self._containers.new_name())
        try:
            await self._store.save_sandbox(entry.sandbox)
            container = await self._obtain(entry, template, warm)
            self._registry.place(entry, container)
            await self._store.save_sandbox(entry.change(SandboxState.RUNNING))
        except BaseException:
            self._remover.discard(entry)
            raise
        self.made[spec.team] += 1
        self._expiry.schedule(entry.sandbox.id, entry.sandbox.end_at)
        took_ms = (time.perf_counter() - began) * 1e3
        source = template.source_sandbox
        origin = template.id if source is None else f"{template.id}, the files of {source},"
        message = f"created from {origin} in {took_ms:.0f} ms{', warm' if warm else ''}"
        self._journal.record(Event.CREATED, entry.sandbox.id, message, template=template.id)
        return entry.sandbox

    def _register(self, spec: SandboxSpec, container: str) -> Entry:
        began = now()
        sandbox = Sandbox(
            id=new_sandbox_id(),
            container=container,
            state=SandboxState.STARTING,
            started_at=began,
            end_at=began + seconds(spec.timeout_s),
            spec=spec,
            boot_id=str(uuid.uuid4()),
        )
        return self._registry.add(sandbox)

    async def _obtain(self, entry: Entry, template: Template, warm: Container | None) -> Container:
        """Return a container that is this sandbox: the warm one, or a new one where there is none or it fails."""
        if warm is not None:
            try:
                await self._containers.claim(warm, entry.sandbox)
                return warm
            except AgentError as error:
                log.warning("the waiting container %s failed: %s", warm.name, error)
                await self._store.save_sandbox(entry.change(container=self._containers.new_name()))
                self._remover.remove_container(warm.name)
        container = await self._containers.provision(entry.sandbox.container, template, entry.sandbox.spec.egress)
        await self._containers.claim(container, entry.sandbox)
        return container
