"""What the agent costs, without an engine: start, memory over twenty, wake-ups, and starting a command both ways.

    python tests/bench/agent_footprint.py [FOLDER OF AN AGENT BUNDLE]

Run as root. With a bundle (the mount point of a `sandlot-agent-…` volume) the agent runs on the bundle's Python, as
in a sandbox; without one on the Python that runs this. `make bench` measures the same in containers.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from sandlot_envd.process.execute import Program
from sandlot_envd.process.spawn import spawn_piped
from sandlot_envd.users import User

COUNT = 20
MOUNT = 'mount -t tmpfs t /opt && mkdir /opt/sandlot && mount --bind "$0" /opt/sandlot && exec "$@"'
FLAGS = ["-I", "-B", "-X", "frozen_modules=on", "-m", "sandlot_envd"]


def build_command(bundle: str | None) -> list[str]:
    """Return the command line of an agent."""
    if bundle is None:
        return [sys.executable, *FLAGS]
    return ["unshare", "--mount", "sh", "-c", MOUNT, bundle, "/opt/sandlot/bin/python3.11", "-S", *FLAGS]


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[tuple[int, int, float]]:
    """Run an agent; yields its pid, its port, and the milliseconds from exec to its first healthy answer."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env={"SANDLOT_ENVD_PORT": "0"}, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        match = re.search(r"listening on (\d+)", process.stdout.readline())
        assert match is not None
        port = int(match[1])
        ask_health(port)
        yield process.pid, port, (time.perf_counter() - began) * 1000
    finally:
        process.kill()
        process.communicate()


def ask_health(port: int) -> None:
    """Return once the agent has answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/health")
    connection.getresponse().read()
    connection.close()


def read_memory(pid: int) -> dict[str, float]:
    """Return megabytes by name."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return {row[0].rstrip(":"): int(row[1]) / 1024 for row in rows}


def count_switches(pid: int) -> int:
    """Return how often the kernel has switched to the agent."""
    with open(f"/proc/{pid}/status") as file:
        return sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)


def measure_spawn(alone: bool) -> float:
    """Return the median milliseconds of starting `true` as another user, until it runs."""
    taken = []
    program = Program(["true"], {}, "/", User("nobody", 65534, 65534, "/", [65534]), alone=alone)
    for _ in range(200):
        began = time.perf_counter()
        spawned = spawn_piped(program, with_stdin=False)
        taken.append((time.perf_counter() - began) * 1000)
        for fd in spawned.outputs.values():
            os.close(fd)
        os.waitpid(spawned.pid, 0)
    return statistics.median(taken)


def main() -> None:
    """Measure and print a table."""
    command = build_command(sys.argv[1] if len(sys.argv) > 1 else None)
    with contextlib.ExitStack() as stack:
        agents = [stack.enter_context(running(command)) for _ in range(COUNT)]
        memory = [read_memory(pid) for pid, _, _ in agents]
        before = count_switches(agents[0][0])
        time.sleep(3)
        switches = count_switches(agents[0][0]) - before
    starts = sorted(taken for _, _, taken in agents)
    rows = [
        ("exec to first healthy answer, p50 / max", f"{statistics.median(starts):.0f} / {starts[-1]:.0f} ms"),
        (f"PSS, mean over {COUNT}", f"{statistics.mean(one['Pss'] for one in memory):.1f} MB"),
        ("private dirty, mean", f"{statistics.mean(one['Private_Dirty'] for one in memory):.1f} MB"),
        ("resident, mean", f"{statistics.mean(one['Rss'] for one in memory):.1f} MB"),
        ("context switches in 3 s of rest", str(switches)),
        ("starting `true` as another user: agent alone (vfork)", f"{measure_spawn(True):.2f} ms"),
        ("the same while a thread of the agent works (fork)", f"{measure_spawn(False):.2f} ms"),
    ]
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
