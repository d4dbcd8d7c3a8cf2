"""The memory of paused containers, moved to the host's swap by asking the kernel to reclaim all of it.

No limit is lowered: whatever goes wrong, a container is only slower when it goes on. The kernel reclaims for as long as
it finds anything, of a container that runs again too; so a process of its own asks for it, which can be killed.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from pathlib import Path

log = logging.getLogger(__name__)

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")
WRITE = 'printf %s "$1" >"$2"'
LONGEST_S = 120
KIB = 1024


def read_swap(proc: Path = PROC) -> tuple[int, int]:
    """Return the bytes of swap that the host has, and those of them that are free."""
    lines = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    total, free = (int(lines.get(name, "0 kB").split()[0]) * KIB for name in ("SwapTotal", "SwapFree"))
    return total, free


def find_group(pid: int, proc: Path = PROC, groups: Path = GROUPS) -> Path | None:
    """Return the folder of the control group that counts a process's memory, of version 1 or 2."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    paths = {kind: path for _, kind, path in (line.split(":", 2) for line in lines)}
    for kind, path in paths.items():
        if "memory" in kind.split(","):
            return _existing(groups / "memory" / path.lstrip("/"))
    return _existing(groups / paths.get("", "/").lstrip("/"))


def _existing(group: Path) -> Path | None:
    return group if group != GROUPS and group.is_dir() else None


class SwapOut:
    """Moves memory out, container by container; every method blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[str, subprocess.Popen[bytes] | None] = {}

    def begin(self, name: str) -> None:
        """Note that a container's memory is about to be moved: from here on `stop` holds."""
        with self._lock:
            self._wanted[name] = None

    def push(self, name: str, group: Path) -> int:
        """Move the memory of a group out, unless it was stopped; return the bytes that have left."""
        try:
            return self._push_v1(name, group) if (group / "memory.force_empty").exists() else self._push_v2(name, group)
        except (OSError, ValueError) as error:
            log.debug("the memory of %s is not moved out: %s", name, error)
            return 0
        finally:
            with self._lock:
                self._wanted.pop(name, None)

    def stop(self, name: str) -> None:
        """End what is under way for a container, and wait for its end."""
        with self._lock:
            process = self._wanted.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()

    def _push_v1(self, name: str, group: Path) -> int:
        used = group / "memory.usage_in_bytes"
        before = int(used.read_text())
        self._write(name, "0", group / "memory.force_empty")
        return max(0, before - int(used.read_text()))

    def _push_v2(self, name: str, group: Path) -> int:
        """The engine forbids swapping where memory and swap together are limited to the memory: allow it meanwhile."""
        used, limit = group / "memory.current", group / "memory.swap.max"
        before, forbidden = int(used.read_text()), limit.read_text().strip()
        limit.write_text("max")
        try:
            self._write(name, str(before), group / "memory.reclaim")
        finally:
            limit.write_text(forbidden)
        return max(0, before - int(used.read_text()))

    def _write(self, name: str, text: str, path: Path) -> None:
        with self._lock:
            if name not in self._wanted:
                return
            process = subprocess.Popen(
                ["/bin/sh", "-c", WRITE, "sh", text, path], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._wanted[name] = process
        try:
            process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def can_push() -> bool:
    """Whether this process may write to the control groups of containers."""
    return os.geteuid() == 0
