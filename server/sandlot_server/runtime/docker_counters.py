"""What containers use, read from the host's control groups, so that a hundred idle ones need not be woken to tell."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from docker.errors import NotFound

from sandlot_protocol.cgroup import ROOT, read_usage
from sandlot_server.runtime.base import Counters
from sandlot_server.runtime.boot_ids import is_of_this_host
from sandlot_server.runtime.docker_disk import DiskMeter
from sandlot_server.runtime.swap import find_group


class CounterReader:
    """Knows where the counters of containers are; every method blocks."""

    def __init__(self, find_client: Callable[[], Any], disk: DiskMeter) -> None:
        self._find_client = find_client
        self._disk = disk
        self._groups: dict[str, str | None] = {}
        self._memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    def read(self, names: Sequence[str]) -> dict[str, Counters]:
        """Return the counters of those of the containers whose groups this host shows."""
        disk = self._disk.read_filesystem()
        if disk is None:
            return {}
        return {name: found for name in names if (found := self._read_one(name, disk)) is not None}

    def forget(self, name: str) -> None:
        """The container is removed."""
        self._groups.pop(name, None)

    def _read_one(self, name: str, disk: os.statvfs_result) -> Counters | None:
        if name not in self._groups:
            self._groups[name] = self._find(name)
        group = self._groups[name]
        if group is None:
            return None
        try:
            usage = read_usage(ROOT, group)
        except (OSError, ValueError, KeyError):
            return None
        return Counters(
            cpu_s=usage.cpu_s,
            cpu_count=usage.cpus,
            mem_used=usage.memory - usage.cache,
            mem_cache=usage.cache,
            mem_total=min(usage.memory_limit, self._memory),
            disk_used=(disk.f_blocks - disk.f_bfree) * disk.f_frsize,
            disk_total=disk.f_blocks * disk.f_frsize,
        )

    def _find(self, name: str) -> str | None:
        """The path of the container's group; it is the same for as long as the container is."""
        try:
            pid = int(self._find_client().inspect_container(name)["State"]["Pid"])
        except NotFound:
            return None
        if not is_of_this_host(pid):
            return None
        group = find_group(pid)
        return None if group is None else _cut(group)


def _cut(group: Path) -> str:
    """The path below the root of its hierarchy, as `read_usage` wants it."""
    path = str(group).removeprefix(ROOT)
    return path.removeprefix("/memory") if not Path(ROOT, "cgroup.controllers").exists() else path
