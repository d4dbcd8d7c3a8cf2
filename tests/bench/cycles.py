"""A thousand sandboxes made, used and killed: what the server has grown by. `python tests/bench/cycles.py [COUNT]`."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.idle import wait_until_idle
from crash.ledger import Ledger

from sandlot import Sandbox
from support.live import LiveServer

WARM_UP = 100
"""Cycles before the first look: a process grows to its working size once."""


@dataclass(frozen=True)
class Size:
    """What a server holds while no sandbox runs."""

    memory_mb: float
    descriptors: int
    threads: int
    containers: int
    rows: int


def cycle(server: LiveServer) -> None:
    """One sandbox from create to kill."""
    with Sandbox.create(**server.options) as sandbox:
        assert sandbox.commands.run("echo ok").stdout == "ok\n"


def _succeeds(server: LiveServer) -> bool:
    try:
        cycle(server)
    except Exception as error:
        print(f"failed: {error!r}", file=sys.stderr)
        return False
    return True


def measure(server: LiveServer, ledger: Ledger) -> Size:
    """Look at the server once everything that was begun is finished."""
    assert server.process is not None
    size = wait_until_idle(server)
    process = psutil.Process(server.process.pid)
    memory = process.memory_info().rss / (1 << 20)
    return Size(memory, process.num_fds(), process.num_threads(), size, ledger.count_rows())


def run(count: int, warm_up: int = WARM_UP) -> tuple[int, list[Size]]:
    """Return how many cycles succeeded, and the server's size before and after."""
    with tempfile.TemporaryDirectory() as home:
        server = LiveServer(Path(home), SANDLOT_POOL_SIZE="4")
        ledger = Ledger(Path(home) / "sandlot.db")
        try:
            server.start()
            for _ in range(warm_up):
                cycle(server)
            sizes, succeeded = [measure(server, ledger)], 0
            for _ in range(count):
                succeeded += _succeeds(server)
            sizes.append(measure(server, ledger))
        finally:
            server.remove()
    return succeeded, sizes


def main() -> None:
    """Run, and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    began = time.monotonic()
    succeeded, sizes = run(count)
    print(f"{succeeded} of {count} create/exec/kill cycles in {time.monotonic() - began:.0f} s")
    print("           memory MB  descriptors  threads  containers  rows")
    for when, size in zip(("before", "after"), sizes, strict=True):
        memory, *rest = astuple(size)
        print(f"{when:10} {memory:9.1f}  {rest[0]:11}  {rest[1]:7}  {rest[2]:10}  {rest[3]:4}")


if __name__ == "__main__":
    main()
