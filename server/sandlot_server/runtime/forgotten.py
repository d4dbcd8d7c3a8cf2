"""Finds what runs of containers, or stands still, without the engine's knowledge, and ends or wakes it.

Runs in a container that sees the processes of the engine's host: no imports but the standard library's.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
SHIM = "containerd-shim"
"""The process that holds a container for containerd; it works in the folder that describes the container."""
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
VARIABLE = "SANDLOT_CONTAINER="


def find(prefix: str) -> Iterator[dict[str, object]]:
    """Yield what holds a container whose name begins so: its pid and age in seconds, and the container's process 1.

    That is 0 once it has ended. It may be one that has not become the container's program yet. `frozen` tells whether
    it stands still.
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
                    "frozen": first is not None and _is_frozen(first),
                }


def end(holder: Path) -> None:
    """Kill it with the container's process; containerd then forgets both, and nobody answers at its address."""
    for child in filter(_is_first, _list_children(holder)):
        with contextlib.suppress(OSError):
            _silence(child)
    for child in [*_list_children(holder), holder]:
        with contextlib.suppress(OSError):
            _thaw(child)
            os.kill(int(child.name), signal.SIGKILL)


def _silence(folder: Path) -> None:
    """Take the container's network down: the engine can hold on to it, and its kernel would go on answering."""
    with (folder / "ns/net").open() as network:
        if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        fcntl.ioctl(asker, SIOCSIFFLAGS, struct.pack("16sH22x", b"eth0", 0))


def wake(holder: Path) -> None:
    """Let the container's process go on."""
    for child in filter(_is_first, _list_children(holder)):
        _thaw(child)


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


def _is_frozen(folder: Path) -> bool:
    return any(path.read_text().strip() in ("FROZEN", "1") for path, _ in list_switches(folder))


def _thaw(folder: Path) -> None:
    """Under control groups of version 1 a frozen process dies only when it goes on."""
    for path, off in list_switches(folder):
        with contextlib.suppress(OSError):
            path.write_text(off)


def list_switches(folder: Path) -> Iterator[tuple[Path, str]]:
    """Where it is told whether a process stands still, in either version of control groups, and the word for no."""
    for line in (folder / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        below = path.lstrip("/")
        switches = {"freezer": (f"freezer/{below}/freezer.state", "THAWED"), "": (f"{below}/cgroup.freeze", "0")}
        if below and controllers in switches:
            place, off = switches[controllers]
            if (CGROUPS / place).exists():
                yield CGROUPS / place, off


if __name__ == "__main__":
    everything = list(find(sys.argv[1]))
    if len(sys.argv) > 2:
        work = {"end": end, "wake": wake}[sys.argv[2]]
        for found in everything:
            if str(found["holder"]) in sys.argv[3:]:
                work(PROC / str(found["holder"]))
    else:
        sys.stdout.writelines(json.dumps(found) + "\n" for found in everything)
