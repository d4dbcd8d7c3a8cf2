"""What sandboxes use: sampled now and then, and kept for a day.

The first samples of each come from its agent, and all of them where the host does not show the counters; else they are
read from outside, for agents that are asked all the time add up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sandlot_server.containers import Containers
from sandlot_server.disk_limits import Usage
from sandlot_server.errors import AgentError, SandboxNotFound, SandlotError
from sandlot_server.models import Sample, SandboxState, now
from sandlot_server.registry import Entry, Registry
from sandlot_server.runtime.base import Counters, Runtime
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
        self,
        *,
        store: Store,
        runtime: Runtime,
        registry: Registry,
        containers: Containers,
        find_disk: Callable[[str], Usage | None],
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._registry = registry
        self._containers = containers
        self._find_disk = find_disk
        self._due: dict[str, datetime] = {}
        self._last: dict[str, Sample] = {}
        self._spent: dict[str, Spent] = {}
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
        counters = await self._read_counters(due)
        taken = await asyncio.gather(*(self._sample(entry, counters.get(entry.sandbox.container)) for entry in due))
        samples = [sample for sample in taken if sample is not None]
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
        known: dict[str, Any]
        for known in (self._due, self._last, self._spent):
            for sandbox_id in [one for one in known if one not in alive]:
                del known[sandbox_id]

    async def _read_counters(self, due: list[Entry]) -> dict[str, Counters]:
        """What the runtime sees of those that were sampled before."""
        names = [entry.sandbox.container for entry in due if entry.sandbox.id in self._last]
        try:
            return await self._runtime.read_counters(names) if names else {}
        except SandlotError as error:
            log.debug("counters could not be read: %s", error)
            return {}

    async def _sample(self, entry: Entry, counters: Counters | None) -> Sample | None:
        sandbox_id = entry.sandbox.id
        before = self._spent.pop(sandbox_id, None)
        if counters is not None:
            self._spent[sandbox_id] = spent = Spent(time.monotonic(), counters.cpu_s, counters.cpu_count)
            if before is not None:
                return self._make_sample(sandbox_id, {**asdict(counters), "cpu_used_pct": spent.compare(before)})
        return await self._ask_agent(entry)

    async def _ask_agent(self, entry: Entry) -> Sample | None:
        assert entry.container is not None
        async with self._slots:
            try:
                values = await self._containers.read_metrics(entry.container, entry.sandbox)
            except AgentError as error:
                log.debug("%s could not be sampled: %s", entry.sandbox.id, error)
                return None
        return self._make_sample(entry.sandbox.id, values)

    def _make_sample(self, sandbox_id: str, values: Mapping[str, Any]) -> Sample:
        # Without a limit of its own a sandbox has the disk that all share.
        disk = self._find_disk(sandbox_id) or Usage(int(values["disk_used"]), int(values["disk_total"]))
        return Sample(
            at=now(),
            sandbox_id=sandbox_id,
            cpu_count=int(values["cpu_count"]),
            cpu_used_pct=float(values["cpu_used_pct"]),
            mem_used=int(values["mem_used"]),
            mem_total=int(values["mem_total"]),
            mem_cache=int(values["mem_cache"]),
            disk_used=disk.used,
            disk_total=disk.limit,
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """The CPU seconds that a sandbox had used at a moment of this process's clock, and the CPUs that it may use."""

    at: float
    cpu_s: float
    cpus: int

    def compare(self, before: Spent) -> float:
        """Return the percent of all its CPUs that were used since."""
        used = (self.cpu_s - before.cpu_s) / (self.at - before.at) / self.cpus
        return round(min(100.0, max(0.0, 100 * used)), 2)
