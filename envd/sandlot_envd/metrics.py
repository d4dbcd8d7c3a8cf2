"""GET /metrics: what the container itself uses, from its own cgroup (version 1 or 2), never the host's totals."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from sandlot_envd.errors import Internal
from sandlot_envd.http import Request, Response, Routes, answer_json
from sandlot_envd.state import AgentState

CGROUP = "/sys/fs/cgroup"
MIB = 1024 * 1024
NO_LIMIT = 1 << 60
"""cgroup v1 writes a number near 2^63 where there is no limit."""


def routes(state: AgentState) -> Routes:
    """Return /metrics."""
    meter = Meter()

    async def metrics(request: Request) -> Response:
        return answer_json(meter.measure())

    return {("GET", "/metrics"): metrics}


class Meter:
    """Reads the counters; CPU use is the average since the reading before, the first one since a moment ago."""

    def __init__(self, root: str = CGROUP) -> None:
        self._read = _read_v2 if os.path.exists(f"{root}/cgroup.controllers") else _read_v1
        self._root = root
        self._before: tuple[float, float] | None = None

    def measure(self) -> dict[str, Any]:
        """Return E2B's metrics object; sizes in bytes. Raises Internal when the counters cannot be read."""
        try:
            usage = self._read(self._root)
        except (OSError, ValueError, KeyError) as error:
            raise Internal(f"the container's counters cannot be read: {error}") from error
        total = min(usage.memory_limit, _read_host_memory())
        disk = os.statvfs("/")
        return {
            "ts": int(time.time()),
            "cpu_count": usage.cpus,
            "cpu_used_pct": round(self._measure_cpu(usage.cpu_s, usage.cpus), 2),
            "mem_total": total,
            "mem_used": usage.memory - usage.cache,
            "mem_cache": usage.cache,
            "mem_total_mib": total // MIB,
            "mem_used_mib": (usage.memory - usage.cache) // MIB,
            "disk_used": (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
            "disk_total": disk.f_blocks * disk.f_frsize,
        }

    def _measure_cpu(self, cpu_s: float, cpus: int) -> float:
        now = time.monotonic()
        before, self._before = self._before, (now, cpu_s)
        if before is None or now <= before[0]:
            return 0.0
        return max(0.0, 100 * (cpu_s - before[1]) / (now - before[0]) / max(1, cpus))


class Usage:
    """One reading: CPU seconds used, whole CPUs allowed, bytes of memory, of that page cache, and the limit."""

    __slots__ = ("cache", "cpu_s", "cpus", "memory", "memory_limit")

    def __init__(self, cpu_s: float, cpus: int, memory: int, cache: int, memory_limit: int) -> None:
        self.cpu_s = cpu_s
        self.cpus = cpus
        self.memory = memory
        self.cache = min(cache, memory)
        self.memory_limit = memory_limit


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _table(path: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in _text(path).splitlines())}


def _read_v1(root: str) -> Usage:
    memory = f"{root}/memory"
    return Usage(
        cpu_s=int(_text(f"{root}/cpuacct/cpuacct.usage")) / 1e9,
        cpus=_count_cpus(_text(f"{root}/cpu/cpu.cfs_quota_us"), lambda: _text(f"{root}/cpu/cpu.cfs_period_us")),
        memory=int(_text(f"{memory}/memory.usage_in_bytes")),
        cache=_table(f"{memory}/memory.stat")["cache"],
        memory_limit=_limit(_text(f"{memory}/memory.limit_in_bytes")),
    )


def _read_v2(root: str) -> Usage:
    quota, period = _text(f"{root}/cpu.max").split()
    return Usage(
        cpu_s=_table(f"{root}/cpu.stat")["usage_usec"] / 1e6,
        cpus=_count_cpus(quota, lambda: period),
        memory=int(_text(f"{root}/memory.current")),
        cache=_table(f"{root}/memory.stat")["file"],
        memory_limit=_limit(_text(f"{root}/memory.max")),
    )


def _count_cpus(quota: str, read_period: Callable[[], str]) -> int:
    if quota in ("-1", "max"):
        return os.cpu_count() or 1
    return max(1, round(int(quota) / int(read_period())))


def _limit(text: str) -> int:
    return NO_LIMIT if text == "max" else int(text)


def _read_host_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
