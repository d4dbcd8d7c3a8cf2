"""GET /metrics: what the container itself uses, never the host's totals."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from sandlot_envd.errors import Internal
from sandlot_envd.http import Request, Response, Routes, answer_json
from sandlot_envd.state import AgentState

if TYPE_CHECKING:
    from sandlot_protocol.cgroup import Usage

MIB = 1024 * 1024
WINDOW_S = 1.0
"""CPU use is an average over at least so long, however often it is asked for."""


def routes(state: AgentState) -> Routes:
    """Return /metrics."""
    meter = Meter()

    async def metrics(request: Request) -> Response:
        return answer_json(meter.measure())

    return {("GET", "/metrics"): metrics}


class Meter:
    """Reads the counters. CPU use is the average since an earlier reading, the first one since the agent's start."""

    def __init__(self, root: str | None = None) -> None:
        self._root = root
        self._older = self._newer = (time.monotonic(), 0.0)

    def measure(self) -> dict[str, Any]:
        """Return E2B's metrics object; sizes in bytes. Raises Internal when the counters cannot be read."""
        usage = self._read()
        total = min(usage.memory_limit, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        used = usage.memory - usage.cache
        # The root's filesystem: where the engine sets containers no quota, that is the disk they share.
        disk = os.statvfs("/")
        return {
            "ts": int(time.time()),
            "cpu_count": usage.cpus,
            "cpu_used_pct": round(self._average(time.monotonic(), usage), 2),
            "mem_total": total,
            "mem_used": used,
            "mem_cache": usage.cache,
            "mem_total_mib": total // MIB,
            "mem_used_mib": used // MIB,
            "disk_used": (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
            "disk_total": disk.f_blocks * disk.f_frsize,
        }

    def _read(self) -> Usage:
        from sandlot_protocol.cgroup import ROOT, read_usage

        try:
            return read_usage(self._root or ROOT)
        except (OSError, ValueError, KeyError) as error:
            raise Internal(f"the container's counters cannot be read: {error}") from error

    def _average(self, now: float, usage: Usage) -> float:
        """Return the CPU use in percent of all allowed CPUs."""
        if now - self._newer[0] >= WINDOW_S:
            self._older, self._newer = self._newer, (now, usage.cpu_s)
        passed = now - self._older[0]
        if passed <= 0:
            return 0.0
        return min(100.0, max(0.0, 100 * (usage.cpu_s - self._older[1]) / passed / usage.cpus))
