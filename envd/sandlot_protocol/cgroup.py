"""The counters of a container, from its control group of version 1 or 2: the agent reads its own, the server any."""

from __future__ import annotations

import os
from collections.abc import Callable

ROOT = "/sys/fs/cgroup"
NO_LIMIT = 1 << 60
"""Version 1 writes a number near 2^63 where there is no limit."""


class Usage:
    """One reading: CPU seconds used, whole CPUs allowed, bytes of memory, of that droppable cache, and the limit."""

    __slots__ = ("cache", "cpu_s", "cpus", "memory", "memory_limit")

    def __init__(self, cpu_s: float, cpus: int, memory: int, cache: int, memory_limit: int) -> None:
        self.cpu_s = cpu_s
        self.cpus = cpus
        self.memory = memory
        self.cache = max(0, min(cache, memory))
        self.memory_limit = memory_limit


def read_usage(root: str = ROOT, group: str = "") -> Usage:
    """Return the present counters of a group, a path that begins with a slash, or of the one that `root` shows itself.

    Raises OSError, ValueError or KeyError where there are none.
    """
    return _read_v2(root + group) if os.path.exists(f"{root}/cgroup.controllers") else _read_v1(root, group)


def _read_v1(root: str, group: str) -> Usage:
    memory = _table(f"{root}/memory{group}/memory.stat")
    cpu = f"{root}/cpu{group}"
    return Usage(
        cpu_s=int(_text(f"{root}/cpuacct{group}/cpuacct.usage")) / 1e9,
        cpus=_count_cpus(_text(f"{cpu}/cpu.cfs_quota_us"), lambda: _text(f"{cpu}/cpu.cfs_period_us")),
        memory=int(_text(f"{root}/memory{group}/memory.usage_in_bytes")),
        cache=memory["cache"] - memory.get("shmem", 0),
        memory_limit=int(_text(f"{root}/memory{group}/memory.limit_in_bytes")),
    )


def _read_v2(root: str) -> Usage:
    memory = _table(f"{root}/memory.stat")
    quota, period = _text(f"{root}/cpu.max").split()
    limit = _text(f"{root}/memory.max")
    return Usage(
        cpu_s=_table(f"{root}/cpu.stat")["usage_usec"] / 1e6,
        cpus=_count_cpus(quota, lambda: period),
        memory=int(_text(f"{root}/memory.current")),
        # What lies in tmpfs counts as file cache, too, but cannot be dropped.
        cache=memory["file"] - memory.get("shmem", 0),
        memory_limit=NO_LIMIT if limit == "max" else int(limit),
    )


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _table(path: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in _text(path).splitlines())}


def _count_cpus(quota: str, read_period: Callable[[], str]) -> int:
    usable = len(os.sched_getaffinity(0))
    if quota in ("-1", "max"):
        return usable
    return max(1, min(usable, -(-int(quota) // int(read_period()))))
