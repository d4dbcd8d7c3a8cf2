"""/metrics: version 1 of control groups live, where the machine has it; version 2 from files.

cpu.stat is as a kernel 6.18 wrote it, the numbers made round; the memory controller was not to be had in version 2, so
its files are in the format of the kernel's documentation.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sandlot_envd.errors import Internal
from sandlot_envd.metrics import Meter
from sandlot_protocol import cgroup
from support.agent import Agent

MIB = 1 << 20
V1 = {
    "cpu/cpu.cfs_quota_us": "100000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "cpuacct/cpuacct.usage": "1500000000\n",
    "memory/memory.usage_in_bytes": f"{100 * MIB}\n",
    "memory/memory.limit_in_bytes": f"{512 * MIB}\n",
    "memory/memory.stat": f"cache {60 * MIB}\nrss {40 * MIB}\nshmem {10 * MIB}\nmapped_file 0\n",
}
V2 = {
    "cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma\n",
    "cpu.max": "100000 100000\n",
    "cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnice_usec 0\n",
    "memory.current": f"{100 * MIB}\n",
    "memory.max": f"{512 * MIB}\n",
    "memory.stat": f"anon {40 * MIB}\nfile {60 * MIB}\nkernel 1000\nshmem {10 * MIB}\nfile_mapped 0\n",
}


def record(folder: Path, files: dict[str, str], **changed: str) -> str:
    for name, content in {**files, **{name.replace("__", "."): text for name, text in changed.items()}}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return str(folder)


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
def test_both_versions(tmp_path: Path, files: dict[str, str]) -> None:
    usage = cgroup.read_usage(record(tmp_path, files))
    assert usage.cpu_s == 1.5
    assert usage.cpus == 1
    assert (usage.memory, usage.cache, usage.memory_limit) == (100 * MIB, 50 * MIB, 512 * MIB)
    measured = Meter(str(tmp_path)).measure()
    assert set(measured) == {
        "ts", "cpu_count", "cpu_used_pct", "mem_total", "mem_used", "mem_cache", "mem_total_mib", "mem_used_mib",
        "disk_used", "disk_total",
    }  # fmt: skip
    assert (measured["mem_total_mib"], measured["mem_used_mib"]) == (512, 50)
    assert (measured["mem_used"], measured["mem_cache"]) == (50 * MIB, 50 * MIB)
    assert abs(measured["ts"] - time.time()) < 5
    assert 0 < measured["disk_used"] < measured["disk_total"]


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
def test_another_group_below_the_root(tmp_path: Path, files: dict[str, str]) -> None:
    """The server reads those of containers, which are not its own."""
    for name, content in files.items():
        folder, _, file = name.rpartition("/")
        (tmp_path / folder / "docker/abc").mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "docker/abc" / file).write_text(content)
    if files is V2:
        (tmp_path / "cgroup.controllers").touch()
    usage = cgroup.read_usage(str(tmp_path), "/docker/abc")
    assert (usage.cpu_s, usage.cpus, usage.memory, usage.cache) == (1.5, 1, 100 * MIB, 50 * MIB)
    with pytest.raises(OSError, match="No such file"):
        cgroup.read_usage(str(tmp_path), "/docker/gone")


def test_without_limits(tmp_path: Path) -> None:
    usage = cgroup.read_usage(record(tmp_path, V2, cpu__max="max 100000\n", memory__max="max\n"))
    assert usage.cpus == len(os.sched_getaffinity(0))
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert Meter(str(tmp_path)).measure()["mem_total"] == host


def test_a_part_of_a_processor_counts_as_one(tmp_path: Path) -> None:
    assert cgroup.read_usage(record(tmp_path, V2, cpu__max="25000 100000\n")).cpus == 1


def test_processor_use_is_an_average_over_a_window(tmp_path: Path) -> None:
    meter = Meter(record(tmp_path, V2, cpu__stat="usage_usec 0\n"))
    start = meter._newer[0]

    def read(after_s: float, used_s: float) -> float:
        usage = cgroup.Usage(cpu_s=used_s, cpus=2, memory=1, cache=0, memory_limit=1)
        return round(meter._average(start + after_s, usage), 2)

    assert read(10, 5) == 25
    assert read(12, 9) == 100
    # Whoever asks again at once gets the average since the same moment, not noise.
    assert read(12.001, 9) == pytest.approx(99.95, abs=0.01)
    assert read(13.5, 9) == 0
    assert read(20, 100) == 100


def test_without_control_groups(tmp_path: Path) -> None:
    with pytest.raises(Internal, match="counters cannot be read"):
        Meter(str(tmp_path)).measure()


async def test_live(own_agent: Agent) -> None:
    if not Path("/sys/fs/cgroup/memory/memory.stat").exists() and not Path("/sys/fs/cgroup/memory.stat").exists():
        pytest.skip("this machine shows no memory counters at the root of its control groups")
    answer = await own_agent.request("GET", "/metrics")
    assert answer.status == 200
    assert answer.json["mem_total"] > answer.json["mem_used"] > 0
    assert 0 <= answer.json["cpu_used_pct"] <= 100
    await own_agent.init(accessToken="secret")
    assert (await own_agent.request("GET", "/metrics")).status == 401
