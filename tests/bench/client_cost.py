"""What our client costs beside the official SDK, against one server: `python tests/bench/client_cost.py`.

A fresh process from its start to its first `create` returned, with the private memory that the package added; and
single calls, ours and theirs in turn, so that both see the same machine.
"""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from sandlot import Sandbox
from support.live import LiveServer

PACKAGES = ("e2b", "sandlot")
RUNS, CALLS = 15, 200

MEMORY = """
def private_kb():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private"))
before = private_kb()
"""
FIRST_CREATE = {
    "sync": "from {package} import Sandbox\nsandbox = Sandbox.create()\n",
    "async": "import asyncio\nfrom {package} import AsyncSandbox\nsandbox = asyncio.run(AsyncSandbox.create())\n",
}
REPORT = "print(private_kb() - before, sandbox.sandbox_id)\nimport os, sys; sys.stdout.flush(); os._exit(0)\n"

SANDBOX_CALLS: dict[str, Callable[[Any], object]] = {
    'commands.run("true")': lambda sandbox: sandbox.commands.run("true"),
    "files.read, 1 kB": lambda sandbox: sandbox.files.read("small"),
    "files.write, 1 kB": lambda sandbox: sandbox.files.write("small", "x" * 1000),
    "files.exists": lambda sandbox: sandbox.files.exists("small"),
    "get_info": lambda sandbox: sandbox.get_info(),
}


def time_first_create(package: str, kind: str) -> tuple[float, int]:
    """Milliseconds of a whole process (less those of an empty one are not taken off), and kilobytes it added."""
    program = MEMORY + FIRST_CREATE[kind].format(package=package) + REPORT
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    took_ms = (time.perf_counter() - began) * 1000
    kilobytes, sandbox_id = done.stdout.split()
    Sandbox.kill(sandbox_id)
    return took_ms, int(kilobytes)


def compare_first_create(kind: str, runs: int = RUNS) -> dict[str, tuple[float, float]]:
    """Return the median milliseconds and megabytes of each package."""
    taken: dict[str, list[tuple[float, int]]] = {package: [] for package in PACKAGES}
    for _ in range(runs):
        for package in PACKAGES:
            taken[package].append(time_first_create(package, kind))
    return {
        package: (statistics.median(ms for ms, _ in each), statistics.median(kb for _, kb in each) / 1024)
        for package, each in taken.items()
    }


def compare_calls(server: LiveServer, calls: int = CALLS) -> dict[str, dict[str, list[float]]]:
    """Return the milliseconds of single calls, in their order from quick to slow, by call and package."""
    sandboxes = {name: importlib.import_module(name).Sandbox.create(**server.options) for name in PACKAGES}
    for sandbox in sandboxes.values():
        sandbox.files.write("small", "x" * 1000)
    found = {}
    for what, call in SANDBOX_CALLS.items():
        taken: dict[str, list[float]] = {package: [] for package in PACKAGES}
        for _ in range(calls):
            for package, sandbox in sandboxes.items():
                began = time.perf_counter()
                call(sandbox)
                taken[package].append((time.perf_counter() - began) * 1000)
        found[what] = {package: sorted(each) for package, each in taken.items()}
    for sandbox in sandboxes.values():
        sandbox.kill()
    return found


def print_all(server: LiveServer) -> None:
    """Measure everything, and print it."""
    for kind in FIRST_CREATE:
        for package, (ms, mb) in compare_first_create(kind).items():
            print(f"first create, {kind:5}  {package:8} {ms:8.0f} ms {mb:6.1f} MB")
    for what, taken in compare_calls(server).items():
        for package, each in taken.items():
            p50, p95 = statistics.median(each), each[len(each) * 95 // 100]
            print(f"{what:20} {package:8} p50 {p50:6.2f} ms   p95 {p95:6.2f} ms")


def main() -> None:
    """Run everything against a server of its own."""
    with tempfile.TemporaryDirectory() as home:
        server = LiveServer(Path(home))
        try:
            server.start()
            os.environ.update(server.sdk_environment)
            print_all(server)
        finally:
            server.remove()


if __name__ == "__main__":
    main()
