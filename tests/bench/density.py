"""A hundred sandboxes that do nothing: what each costs in memory, all told, and what all of them cost in time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
from crash.chaos import list_pids
from e2b import Sandbox

from support.live import LiveServer

AT_ONCE = 4
QUIET_S = 30
"""How long they are looked at, and before that left alone, so that what starting them began is over."""
ENGINE = ("dockerd", "containerd")
MB = 1 << 20


@dataclass(frozen=True)
class Density:
    """Megabytes for each sandbox, and percent of one core: of all together with the server, and of the engine."""

    succeeded: int
    memory_mb: float
    agent_mb: float
    shim_mb: float
    cpu_percent: float
    engine_cpu_percent: float


def measure(server: LiveServer, count: int) -> Density:
    """Make the sandboxes on a server that has none and no pool, look at them, and end them."""
    before = psutil.virtual_memory().available
    with ThreadPoolExecutor(AT_ONCE) as threads:
        made = [one for one in threads.map(lambda _: _create(server), range(count)) if one is not None]
        try:
            time.sleep(QUIET_S)
            used = (before - psutil.virtual_memory().available) / MB / max(1, len(made))
            agents = [psutil.Process(pid) for pid in list_pids(server.installation)]
            shims = list({parent for agent in agents if (parent := agent.parent()) is not None})
            cpu = _measure_cpu([*agents, *shims, *_find_server(server)], list(_find_engine()))
            return Density(len(made), used, _measure_private(agents), _measure_private(shims), *cpu)
        finally:
            list(threads.map(lambda sandbox: sandbox.kill(), made))


def _create(server: LiveServer) -> Sandbox | None:
    try:
        return Sandbox.create(timeout=900, **server.options)
    except Exception as error:
        print(f"failed: {error!r}")
        return None


def _find_engine() -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["name"]):
        if process.info["name"] in ENGINE:
            yield process


def _find_server(server: LiveServer) -> list[psutil.Process]:
    assert server.process is not None
    own = psutil.Process(server.process.pid)
    return [own, *own.children(recursive=True)]


def _measure_private(processes: list[psutil.Process]) -> float:
    return statistics.median(process.memory_full_info().uss for process in processes) / MB


def _measure_cpu(*groups: list[psutil.Process]) -> list[float]:
    before = [sum(map(_read_cpu, group)) for group in groups]
    began = time.monotonic()
    time.sleep(QUIET_S)
    after = [sum(map(_read_cpu, group)) for group in groups]
    passed = time.monotonic() - began
    return [100 * (now - was) / passed for was, now in zip(before, after, strict=True)]


def _read_cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
