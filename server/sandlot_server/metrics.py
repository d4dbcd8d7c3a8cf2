"""What sandboxes use: sampled from their agents now and then, kept for a day."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from sandlot_server.containers import Containers
from sandlot_server.disk_limits import Usage
from sandlot_server.errors import AgentError, SandboxNotFound, SandlotError
from sandlot_server.models import Sample, SandboxState, now
from sandlot_server.registry import Entry, Registry
from sandlot_server.store.base import Store

log = logging.getLogger(__name__)

TICK_S = 1
INTERVAL_S = 5
FIRST_AFTER_S = 1
AT_ONCE = 8
EVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Metrics:
    """Samples running sandboxes and answers questions about them."""

    def __init__(
        self, *, store: Store, registry: Registry, containers: Containers, find_disk: Callable[[str], Usage | None]
    ) -> None:
        self._store = store
        self._registry = registry
        self._containers = containers
        self._find_disk = find_disk
        self._due: dict[str, datetime] = {}
        self._last: dict[str, Sample] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.sample_due()
            except SandlotError as error:
                log.warning("what sandboxes use could not be saved: %s", error)

    async def sample_due(self) -> None:
        """Sample every running sandbox whose turn it is."""
        moment = now()
        running = [entry for entry in self._registry if entry.state is SandboxState.RUNNING]
        self._forget_all_but({entry.sandbox.id for entry in self._registry})
        due = [entry for entry in running if self._find_due(entry) <= moment]
        for entry in due:
            self._due[entry.sandbox.id] = moment + timedelta(seconds=INTERVAL_S)
        samples = [sample for sample in await asyncio.gather(*map(self._sample, due)) if sample is not None]
        self._last.update((sample.sandbox_id, sample) for sample in samples)
        if samples:
            await self._store.append_samples(samples)

    async def load(self, sandbox_id: str, start: datetime | None, end: datetime | None) -> list[Sample]:
        """Return the samples from `start` to `end`, oldest first; raises SandboxNotFound when it never was."""
        samples = await self._store.load_samples(sandbox_id, start or EVER, end or now())
        if not samples and self._registry.get(sandbox_id) is None:
            raise SandboxNotFound(sandbox_id)
        return samples

    def find_last(self, sandbox_ids: Iterable[str]) -> dict[str, Sample]:
        """Return the newest sample of each of these sandboxes that has one."""
        return {one: self._last[one] for one in sandbox_ids if one in self._last}

    def _find_due(self, entry: Entry) -> datetime:
        return self._due.get(entry.sandbox.id) or entry.sandbox.started_at + timedelta(seconds=FIRST_AFTER_S)

    def _forget_all_but(self, alive: set[str]) -> None:
        for known in (self._due, self._last):
            for sandbox_id in [one for one in known if one not in alive]:
                del known[sandbox_id]

    async def _sample(self, entry: Entry) -> Sample | None:
        assert entry.container is not None
        async with self._slots:
            try:
                values = await self._containers.read_metrics(entry.container, entry.sandbox)
            except AgentError as error:
                log.debug("%s could not be sampled: %s", entry.sandbox.id, error)
                return None
        # Without a limit of its own a sandbox has the disk that all share, as its agent sees it.
        disk = self._find_disk(entry.sandbox.id) or Usage(int(values["disk_used"]), int(values["disk_total"]))
        return Sample(
            at=now(),
            sandbox_id=entry.sandbox.id,
            cpu_count=int(values["cpu_count"]),
            cpu_used_pct=float(values["cpu_used_pct"]),
            mem_used=int(values["mem_used"]),
            mem_total=int(values["mem_total"]),
            mem_cache=int(values["mem_cache"]),
            disk_used=disk.used,
            disk_total=disk.limit,
        )
