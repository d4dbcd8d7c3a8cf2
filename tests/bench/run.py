"""`make bench`: one table of what a user waits for, each row beside a reference measured in the same run.

Everything of ours goes through the official Python SDK against a server of the bench's own. Also writes the rows
as JSON where `--json FILE` says, and as a page where `--page FILE` says; `--only WORD` picks rows, `--quick` runs each
a tenth as often, `--compare COMMIT` measures another commit as well.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from e2b import Sandbox

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench import agents, client_cost, cycles, density, door_bench, floor
from bench.compare import compare
from bench.docker_cli import BareContainer, run_and_remove
from bench.idle import wait_until_idle
from bench.table import Row, Target, render, save, summarise

from support.live import LiveServer
from support.packages import install

MB = 1 << 20
TWICE_DOCKER_CP = Target(ratio=0.5)
PAUSE = Target(p50=35)
STAGGER_S = 0.2
GROWTH = 1.1
"""What a long run may add to memory and descriptors and still count as none: threads and pages come and go."""
DOOR_ROWS = {
    "c1 p50 ms": "1 connection",
    "c1 req/s": "1 connection, req/s",
    "c32 req/s": "32 connections, req/s",
    "down MB/s": "download, MB/s",
    "up MB/s": "upload, MB/s",
}
"""What door_bench measures, and how the table names it."""
DOOR_TARGETS = {"splice": Target(rate=0.8), "caddy": Target(rate=1)}
PAGE_HEAD = """# Performance

One run of `make bench PAGE=docs/performance.md`, which writes this page. Sandboxes are used through the official Python
SDK; the rows of our client, of the front door and of the agent are each of that part alone. The reference of a row was
measured in the same run. `ratio` is ours by the reference: below 1 is better for times, above 1 for rates.
`client alone` is the SDK's own HTTP library getting the same bytes from a bare socket in place of Sandlot.
"""


def time_each(work: Callable[[], object], runs: int, pace_s: float = 0) -> tuple[list[float], int]:
    """Return milliseconds of each successful call, and how many failed; begins one every `pace_s` seconds."""
    taken, failed = [], 0
    for _ in range(runs):
        began = time.perf_counter()
        try:
            work()
            taken.append((time.perf_counter() - began) * 1000)
        except Exception as error:
            failed += 1
            print(f"failed: {error!r}", file=sys.stderr)
        time.sleep(max(0.0, pace_s - (time.perf_counter() - began)))
    return taken, failed


def median_of(work: Callable[[], object], runs: int) -> float:
    """Return the median milliseconds of a reference."""
    return statistics.median(time_each(work, runs)[0])


@contextmanager
def running_server(**settings: str) -> Iterator[LiveServer]:
    """A server with other settings beside the bench's own, removed at the end."""
    with tempfile.TemporaryDirectory() as home:
        server = LiveServer(Path(home), **settings)
        server.start()
        try:
            yield server
        finally:
            server.remove()


class Bench:
    """One live server and the sandboxes made on it."""

    def __init__(self, server: LiveServer, scale: float) -> None:
        self.server = server
        self.scale = scale

    def times(self, runs: int) -> int:
        """How often to run something that a whole bench runs `runs` times."""
        return max(3, int(runs * self.scale))

    def create(self) -> Sandbox:
        """Create through the official SDK."""
        return Sandbox.create(timeout=300, **self.server.options)

    def create_and_kill(self) -> None:
        """Create; the kill is not waited for by whoever measures the create alone."""
        self.create().kill()

    def measure_create(self) -> Iterator[Row]:
        """Two a second with the default pool, misses included."""
        made: list[Sandbox] = []
        taken, failed = time_each(lambda: made.append(self.create()), self.times(100), 0.5)
        for sandbox in made:
            sandbox.kill()
        reference = median_of(run_and_remove, self.times(20))
        beside = {"reference": "docker run", "reference_p50": reference}
        yield summarise("create, warm, 2 a second", taken, failed, **beside, target=Target(p50=15, p95=40))

    def measure_cold_create(self) -> Iterator[Row]:
        """Without a pool, in turn with the reference."""
        with running_server(SANDLOT_POOL_SIZE="0") as server:
            taken, references, failed = [], [], 0
            for _ in range(self.times(20)):
                made, refused = time_each(lambda: Bench(server, 1).create(), 1)
                taken, failed = taken + made, failed + refused
                references += time_each(run_and_remove, 1)[0]
            reference = statistics.median(references)
        beside = {"reference": "docker run", "reference_p50": reference}
        yield summarise("create, cold", taken, failed, **beside, target=Target(ratio=1.6))

    def measure_first_command(self) -> Iterator[Row]:
        """From nothing to the end of the first command."""

        def work() -> None:
            sandbox = self.create()
            sandbox.commands.run("true")
            done.append(sandbox)

        done: list[Sandbox] = []
        taken, failed = time_each(work, self.times(40), 0.5)
        for sandbox in done:
            sandbox.kill()
        yield summarise("create until the first command ended", taken, failed, target=Target(p50=30))

    def measure_staggered(self) -> Iterator[Row]:
        """One begun every 200 ms, whether or not those before it have ended."""

        def work(number: int) -> float | None:
            time.sleep(number * STAGGER_S)
            began = time.perf_counter()
            return self._create_timed(began, lambda sandbox: sandbox.commands.run("true"))

        count = self.times(50)
        with ThreadPoolExecutor(count) as threads:
            ends = list(threads.map(work, range(count)))
        good = [end for end in ends if end is not None]
        yield summarise("first command, a create every 200 ms", good, len(ends) - len(good))
        self._kill_all()

    def measure_burst(self) -> Iterator[Row]:
        """Many at once, far more than the pool holds, and as many as it holds."""
        yield from self._burst("default pool", 20)
        yield from self._burst("default pool", 50)
        with running_server(SANDLOT_POOL_SIZE="20", SANDLOT_POOL_MEMORY_MB="32768") as server:
            yield from Bench(server, self.scale)._burst("pool of 20", 20, Target(p95=250))

    def _burst(self, described: str, count: int, target: Target | None = None) -> Iterator[Row]:
        wait_until_idle(self.server)
        with ThreadPoolExecutor(count) as threads:
            began = time.perf_counter()
            ends = list(threads.map(self._create_timed, [began] * count))
        good = [end for end in ends if end is not None]
        yield summarise(f"burst of {count} creates, {described}", good, len(ends) - len(good), target=target)
        self._kill_all()

    def _kill_all(self) -> None:
        for sandbox in Sandbox.list(**self.server.options).next_items():
            Sandbox.kill(sandbox.sandbox_id, **self.server.options)

    def _create_timed(self, began: float, then: Callable[[Sandbox], object] = lambda sandbox: None) -> float | None:
        try:
            then(self.create())
        except Exception as error:
            print(f"failed: {error!r}", file=sys.stderr)
            return None
        return (time.perf_counter() - began) * 1000

    def measure_commands(self) -> Iterator[Row]:
        """One short command after the other."""
        sandbox = self.create()
        taken, failed = time_each(lambda: sandbox.commands.run("true"), self.times(200))
        with BareContainer() as bare:
            reference = median_of(lambda: bare.execute("bash", "-l", "-c", "true"), self.times(20))
        sandbox.kill()
        beside = {"reference": "docker exec", "reference_p50": reference}
        yield summarise('commands.run("true")', taken, failed, **beside, target=Target(p50=12, ratio=0.25))

    def measure_small_files(self) -> Iterator[Row]:
        """One kilobyte."""
        sandbox = self.create()
        taken, failed = time_each(lambda: sandbox.files.write("small", b"x" * 1024), self.times(100))
        yield summarise("write of 1 KB", taken, failed, target=Target(p50=5))
        taken, failed = time_each(lambda: sandbox.files.read("small", format="bytes"), self.times(100))
        yield summarise("read of 1 KB", taken, failed, target=Target(p50=5))
        sandbox.kill()

    def measure_large_files(self) -> Iterator[Row]:
        """256 MB, in turn with the references."""
        sandbox, data = self.create(), os.urandom(MB) * 256
        with BareContainer() as bare:
            up, down = bare.measure_copy(data, self.times(5))
        taken, failed = time_each(lambda: sandbox.files.write("large", data, request_timeout=120), self.times(5))
        beside = {"reference": "docker cp", "target": TWICE_DOCKER_CP}
        yield summarise("write of 256 MB", taken, failed, reference_p50=up, **beside)
        read = lambda: sandbox.files.read("large", format="bytes", request_timeout=120)  # noqa: E731
        taken, failed = time_each(read, self.times(5))
        yield summarise("read of 256 MB", taken, failed, reference_p50=down, **beside)
        alone = floor.measure(len(data), self.times(5))
        yield summarise("read of 256 MB", taken, failed, reference="client alone", reference_p50=alone)
        sandbox.kill()

    def measure_pause(self) -> Iterator[Row]:
        """Freeze and thaw."""
        sandbox = self.create()
        pauses, resumes = [], []
        for _ in range(self.times(30)):
            pauses += time_each(sandbox.pause, 1)[0]
            resumes += time_each(lambda: Sandbox.connect(sandbox.sandbox_id, **self.server.options), 1)[0]
        with BareContainer() as bare:
            freeze, thaw = bare.measure_pause(self.times(10))
        sandbox.kill()
        yield summarise("pause", pauses, 0, reference="docker pause", reference_p50=freeze, target=PAUSE)
        yield summarise("resume", resumes, 0, reference="docker unpause", reference_p50=thaw, target=PAUSE)

    def measure_kill(self) -> Iterator[Row]:
        """Until the answer; the container is removed behind it."""
        made = [self.create() for _ in range(self.times(20))]
        taken, failed = time_each(lambda: made.pop().kill(), len(made), 0.2)
        yield summarise("kill", taken, failed, target=Target(p50=20))

    def measure_door(self) -> Iterator[Row]:
        """The front door alone, beside the connection that it stands in and beside two well-known proxies."""
        rounds = self.times(2)
        found = door_bench.run(seconds=3 * self.scale, megabytes=256, rounds=rounds)
        for column, name in DOOR_ROWS.items():
            for other in [other for other in ("direct", "splice", "caddy", "haproxy") if other in found]:
                ours, theirs = found["door"][column], found[other][column]
                target = DOOR_TARGETS.get(other) if column.endswith("/s") else None
                yield Row(f"front door, {name}", rounds, rounds, ours, None, other, theirs, target)

    def measure_client(self) -> Iterator[Row]:
        """Our client beside the official one: a process until its first create, and single calls."""
        os.environ.update(self.server.sdk_environment)
        runs = self.times(15)
        found = client_cost.compare_first_create("sync", runs)
        for place, unit in enumerate(("ms", "MB")):
            ours, theirs = found["sandlot"][place], found["e2b"][place]
            yield Row(f"our client, first create, {unit}", runs, runs, ours, None, "e2b", theirs)
        for what, taken in client_cost.compare_calls(self.server, self.times(200)).items():
            theirs = statistics.median(taken["e2b"])
            yield summarise(f"our client, {what}", taken["sandlot"], 0, reference="e2b", reference_p50=theirs)

    def measure_agent(self) -> Iterator[Row]:
        """The agent alone: from exec to the first healthy answer."""
        taken = agents.measure_start(self.times(10))
        yield summarise("agent, from exec to healthy", taken, target=Target(p50=350))

    def measure_hundred(self) -> Iterator[Row]:
        """Alive and idle: the memory that the host has less, its known parts, and the CPU they cost."""
        count = self.times(100)
        with running_server(SANDLOT_POOL_SIZE="0") as server:
            found = density.measure(server, count)
        for what, value, target in (
            ("each all told, MB", found.memory_mb, Target(p50=25)),
            ("of that the agent, MB", found.agent_mb, None),
            ("of that the shim, MB", found.shim_mb, None),
            ("CPU of all and server, %", found.cpu_percent, Target(p50=1)),
            ("CPU of the engine, %", found.engine_cpu_percent, None),
        ):
            yield Row(f"{count} idle, {what}", count, found.succeeded, value, target=target)

    def measure_long_run(self) -> Iterator[Row]:
        """Many sandboxes, one after the other: what the server has grown by."""
        count = self.times(1000)
        succeeded, (before, after) = cycles.run(count)
        for name in ("memory_mb", "descriptors", "containers", "rows"):
            was, now = getattr(before, name), getattr(after, name)
            label = "memory, MB" if name == "memory_mb" else name
            target = Target(p50=was * GROWTH if name in ("memory_mb", "descriptors") else was)
            yield Row(f"after {count} cycles, {label}", count, succeeded, now, None, "before", was, target)


def describe_machine() -> str:
    """Return what was measured on, in one line."""
    return f"{platform.platform()}, {os.cpu_count()} CPUs, Docker {read_engine()}"


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--compare", metavar="COMMIT")
    options = parser.parse_args()
    if options.page and (options.only or options.quick or options.compare):
        parser.error("--page is for a whole run: without --only, --quick and --compare")
    if options.compare:
        print(compare(options.compare, ["--only", options.only, *(["--quick"] if options.quick else [])]))
        return
    install(wrk="wrk", caddy="caddy", haproxy="haproxy")
    rows = list(measure(options.only, 0.1 if options.quick else 1))
    report = f"{describe_machine()}\n{render(rows)}"
    if not options.only or "agent" in options.only:
        report += f"\n{agents.describe_memory()}"
    print(report)
    if options.page:
        options.page.write_text(f"{PAGE_HEAD}\n```\n{report}\n```\n")
    if options.json:
        save(rows, options.json)


def measure(only: str, scale: float) -> Iterator[Row]:
    """Yield the rows of every measurement whose name has this word in it."""
    with running_server() as server:
        bench = Bench(server, scale)
        for name in [name for name in dir(bench) if name.startswith("measure_") and only in name]:
            wait_until_idle(server)
            yield from getattr(bench, name)()


def read_engine() -> str:
    """Return the engine's version."""
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
