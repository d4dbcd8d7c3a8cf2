"""`make bench`: one table of what a user waits for, each row beside a reference measured in the same run.

Everything of ours goes through the official Python SDK against a server of the bench's own. Also writes the rows
as JSON where `--json FILE` says, and as a page where `--page FILE` says; `--only WORD` picks rows, `--quick` runs each
a tenth as often.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from e2b import Sandbox

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench import agents, client_cost, door_bench
from bench.docker_cli import BareContainer, run_and_remove
from bench.idle import wait_until_idle

from support.live import LiveServer

MB = 1 << 20
COPY = "half of docker cp"
DOOR_ROWS = {
    "c1 p50 ms": "1 connection",
    "c1 req/s": "1 connection, req/s",
    "c32 req/s": "32 connections, req/s",
    "down MB/s": "download, MB/s",
    "up MB/s": "upload, MB/s",
}
"""What door_bench measures, and how the table names it."""
PAGE_HEAD = """# Performance

One run of `make bench PAGE=docs/performance.md`, which writes this page. Sandboxes are used through the official Python
SDK; the rows of our client, of the front door and of the agent are each of that part alone. The reference of a row was
measured in the same run. `ratio` is ours by the reference: below 1 is better for times, above 1 for rates.
"""


@dataclass
class Row:
    """Ours and the reference, in milliseconds or in the unit that the name ends with, and how often ours succeeded."""

    name: str
    runs: int
    ok: int
    p50: float
    p95: float | None
    reference: str = ""
    reference_p50: float | None = None
    target: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours as a part of the reference."""
        return None if not self.reference_p50 else self.p50 / self.reference_p50


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


def summarise(name: str, taken: list[float], failed: int, **rest: object) -> Row:
    """Return the row of some measured calls."""
    ordered = sorted(taken) or [float("nan")]
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return Row(name, len(taken) + failed, len(taken), statistics.median(ordered), p95, **rest)  # type: ignore[arg-type]


def median_of(work: Callable[[], object], runs: int) -> float:
    """Return the median milliseconds of a reference."""
    return statistics.median(time_each(work, runs)[0])


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
        name = "create, warm, 2 a second"
        yield summarise(name, taken, failed, reference="docker run", reference_p50=reference, target="15, p95 40")

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
        yield summarise("create until the first command ended", taken, failed, target="30")

    def measure_burst(self) -> Iterator[Row]:
        """Many at once, far more than the pool holds, and as many as it holds."""
        yield from self._burst("default pool", 20)
        yield from self._burst("default pool", 50)
        with tempfile.TemporaryDirectory() as home:
            server = LiveServer(Path(home), SANDLOT_POOL_SIZE="20", SANDLOT_POOL_MEMORY_MB="32768")
            server.start()
            try:
                yield from Bench(server, self.scale)._burst("pool of 20", 20, "p95 250")
            finally:
                server.remove()

    def _burst(self, described: str, count: int, target: str = "") -> Iterator[Row]:
        wait_until_idle(self.server)
        with ThreadPoolExecutor(count) as threads:
            began = time.perf_counter()
            ends = list(threads.map(self._create_timed, [began] * count))
        good = [end for end in ends if end is not None]
        yield summarise(f"burst of {count} creates, {described}", good, len(ends) - len(good), target=target)
        for sandbox in Sandbox.list(**self.server.options).next_items():
            Sandbox.kill(sandbox.sandbox_id, **self.server.options)

    def _create_timed(self, began: float) -> float | None:
        try:
            self.create()
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
        yield summarise(
            'commands.run("true")', taken, failed, reference="docker exec", reference_p50=reference, target="12"
        )

    def measure_small_files(self) -> Iterator[Row]:
        """One kilobyte."""
        sandbox = self.create()
        taken, failed = time_each(lambda: sandbox.files.write("small", b"x" * 1024), self.times(100))
        yield summarise("write of 1 KB", taken, failed, target="5")
        taken, failed = time_each(lambda: sandbox.files.read("small", format="bytes"), self.times(100))
        yield summarise("read of 1 KB", taken, failed, target="5")
        sandbox.kill()

    def measure_large_files(self) -> Iterator[Row]:
        """256 MB."""
        sandbox, data = self.create(), os.urandom(MB) * 256
        with BareContainer() as bare:
            up, down = bare.measure_copy(data, self.times(5))
        taken, failed = time_each(lambda: sandbox.files.write("large", data, request_timeout=120), self.times(5))
        yield summarise("write of 256 MB", taken, failed, reference="docker cp", reference_p50=up, target=COPY)
        read = lambda: sandbox.files.read("large", format="bytes", request_timeout=120)  # noqa: E731
        taken, failed = time_each(read, self.times(5))
        yield summarise("read of 256 MB", taken, failed, reference="docker cp", reference_p50=down, target=COPY)
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
        yield summarise("pause", pauses, 0, reference="docker pause", reference_p50=freeze, target="35")
        yield summarise("resume", resumes, 0, reference="docker unpause", reference_p50=thaw, target="35")

    def measure_kill(self) -> Iterator[Row]:
        """Until the answer; the container is removed behind it."""
        made = [self.create() for _ in range(self.times(20))]
        taken, failed = time_each(lambda: made.pop().kill(), len(made), 0.2)
        yield summarise("kill", taken, failed, target="20")

    def measure_door(self) -> Iterator[Row]:
        """The front door alone, beside the connection that it stands in and beside two well-known proxies."""
        rounds = self.times(2)
        found = door_bench.run(seconds=3 * self.scale, megabytes=256, rounds=rounds)
        if missing := {"caddy", "haproxy"} - found.keys():
            print(f"not here, so not measured beside: {', '.join(sorted(missing))}", file=sys.stderr)
        for column, name in DOOR_ROWS.items():
            for other in [other for other in ("direct", "splice", "caddy", "haproxy") if other in found]:
                ours, theirs = found["door"][column], found[other][column]
                yield Row(f"front door, {name}", rounds, rounds, ours, None, other, theirs)

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
        yield summarise("agent, from exec to healthy", taken, 0, target="350")


def render_table(rows: list[Row]) -> str:
    """Return the table as text."""
    line = "{:<40} {:>9} {:>8} {:>8}   {:<14} {:>8} {:>6}   {}"
    head = ("what (ms, or as it says)", "ok/runs", "p50", "p95", "beside", "p50", "ratio", "target p50")
    lines = [line.format(*head)]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        reference = "" if row.reference_p50 is None else f"{row.reference_p50:.{2 if row.reference_p50 < 1 else 1}f}"
        digits = 2 if row.p50 < 1 else 1
        counts, p50 = f"{row.ok}/{row.runs}", f"{row.p50:.{digits}f}"
        p95 = "" if row.p95 is None else f"{row.p95:.1f}"
        lines.append(line.format(row.name, counts, p50, p95, row.reference, reference, ratio, row.target).rstrip())
    return "\n".join(lines)


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
    options = parser.parse_args()
    if options.page and (options.only or options.quick):
        parser.error("--page is for a whole run: without --only and --quick")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as home:
        server = LiveServer(Path(home))
        server.start()
        try:
            bench = Bench(server, 0.1 if options.quick else 1)
            for name in [name for name in dir(bench) if name.startswith("measure_") and options.only in name]:
                wait_until_idle(server)
                rows += getattr(bench, name)()
        finally:
            server.remove()
    report = f"{describe_machine()}\n{render_table(rows)}"
    if not options.only or "agent" in options.only:
        report += f"\n{agents.describe_memory()}"
    print(report)
    if options.page:
        options.page.write_text(f"{PAGE_HEAD}\n```\n{report}\n```\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def read_engine() -> str:
    """Return the engine's version."""
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
