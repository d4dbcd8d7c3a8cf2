"""Finds and ends what runs of containers without the engine's knowledge.

Runs in a container that sees the processes of the engine's host: no imports but the standard library's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
FREEZER = Path("/sys/fs/cgroup/freezer")
SHIM = "containerd-shim"
"""The process that holds a container for containerd; it works in the folder that describes the container."""
VARIABLE = "SANDLOT_CONTAINER="


def find(prefix: str) -> Iterator[dict[str, object]]:
    """Yield what holds a container whose name begins so: its pid, its age in seconds, and the container's process 1.

    That is 0 once it has ended. It may be one that has not become the container's program yet.
    """
    for folder in _list_processes():
        # Any process can end while it is looked at.
        with contextlib.suppress(OSError, ValueError, KeyError):
            if (folder / "comm").read_text().startswith(SHIM) and (name := _read_name(folder)).startswith(prefix):
                first = next(filter(_is_first, _list_children(folder)), None)
                yield {
                    "container": name,
                    "holder": int(folder.name),
                    "pid": int(first.name) if first else 0,
                    "age_s": _read_age(folder),
                }


def end(prefix: str, holders: list[int]) -> None:
    """Kill those that `find` still finds, with the container's process; containerd then forgets both."""
    for found in find(prefix):
        if found["holder"] in holders:
            folder = PROC / str(found["holder"])
            for child in [*_list_children(folder), folder]:
                with contextlib.suppress(OSError):
                    _thaw(child)
                    os.kill(int(child.name), signal.SIGKILL)


def _list_processes() -> Iterator[Path]:
    return PROC.glob("[0-9]*")


def _list_children(parent: Path) -> list[Path]:
    children = []
    for folder in _list_processes():
        with contextlib.suppress(OSError, KeyError):
            if _read_status(folder)["PPid"] == parent.name:
                children.append(folder)
    return children


def _read_name(holder: Path) -> str:
    """The container's name, as we have written it into its environment; empty for one that is not ours."""
    variables = json.loads((holder / "cwd/config.json").read_bytes())["process"]["env"]
    return next((line.removeprefix(VARIABLE) for line in variables if line.startswith(VARIABLE)), "")


def _is_first(folder: Path) -> bool:
    """Whether it is process 1 of a namespace below this one."""
    numbers = _read_status(folder)["NSpid"].split()
    return len(numbers) > 1 and numbers[-1] == "1"


def _read_age(folder: Path) -> float:
    ticks = int((folder / "stat").read_text().rpartition(")")[2].split()[19])
    return float((PROC / "uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


def _read_status(folder: Path) -> dict[str, str]:
    lines = (folder / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _thaw(folder: Path) -> None:
    """Under control groups of version 1 a frozen process dies only when it goes on."""
    for line in (folder / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "freezer" and path != "/":
            with contextlib.suppress(OSError):
                (FREEZER / path.lstrip("/") / "freezer.state").write_text("THAWED")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        end(sys.argv[1], [int(pid) for pid in sys.argv[2:]])
    else:
        sys.stdout.writelines(json.dumps(found) + "\n" for found in find(sys.argv[1]))
