"""Memory of paused sandboxes on its way to swap: over control groups as files, and of a real container."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import httpx
import pytest

from sandlot_server.doctor import examine_swap
from sandlot_server.errors import EngineError
from sandlot_server.installation import Installation
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.runtime.swap import SwapOut, find_group, read_swap

MIB = 1024 * 1024
MEMINFO = """MemTotal:       24683988 kB
SwapTotal:       2097148 kB
SwapFree:        1048576 kB
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_how_much_swap_there_is(tmp_path: Path) -> None:
    write(tmp_path / "meminfo", MEMINFO)
    assert read_swap(tmp_path) == (2097148 * 1024, 1 << 30)
    write(tmp_path / "meminfo", "MemTotal: 1 kB\n")
    assert read_swap(tmp_path) == (0, 0)


@pytest.mark.parametrize(
    ("lines", "folder"),
    [
        ("9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n", "memory/docker/abc"),
        ("5:hugetlb,memory:/docker/abc\n", "memory/docker/abc"),
        ("0::/system.slice/docker-abc.scope\n", "system.slice/docker-abc.scope"),
    ],
    ids=["version 1", "version 1, together with another", "version 2"],
)
def test_where_memory_is_counted(tmp_path: Path, lines: str, folder: str) -> None:
    write(tmp_path / "proc/7/cgroup", lines)
    assert find_group(7, tmp_path / "proc", tmp_path / "groups") is None
    (tmp_path / "groups" / folder).mkdir(parents=True)
    assert find_group(7, tmp_path / "proc", tmp_path / "groups") == tmp_path / "groups" / folder
    assert find_group(8, tmp_path / "proc", tmp_path / "groups") is None


def test_version_1_is_told_to_empty_the_group(tmp_path: Path) -> None:
    write(tmp_path / "memory.usage_in_bytes", str(50 * MIB))
    asked = write(tmp_path / "memory.force_empty", "")
    swap = SwapOut()
    swap.begin("c1")
    assert swap.push("c1", tmp_path) == 0, "a file that nobody reads moves nothing"
    assert asked.read_text() == "0"


def test_version_2_may_swap_for_as_long_as_it_takes(tmp_path: Path) -> None:
    write(tmp_path / "memory.current", str(50 * MIB))
    limit = write(tmp_path / "memory.swap.max", "0\n")
    asked = tmp_path / "memory.reclaim"
    os.mkfifo(asked)
    swap, moved = SwapOut(), list[int]()
    swap.begin("c1")
    pushing = threading.Thread(target=lambda: moved.append(swap.push("c1", tmp_path)))
    pushing.start()
    # Opened for reading here, as the kernel would take what is written there.
    assert asked.read_text() == str(50 * MIB)
    pushing.join(10)
    assert moved == [0]
    assert limit.read_text() == "0"


def test_who_goes_on_is_not_emptied_any_further(tmp_path: Path) -> None:
    """The kernel would go on for as long as it finds memory: here it never takes what is written."""
    write(tmp_path / "memory.current", str(50 * MIB))
    limit = write(tmp_path / "memory.swap.max", "0")
    os.mkfifo(tmp_path / "memory.reclaim")
    swap = SwapOut()
    swap.begin("c1")
    pushing = threading.Thread(target=swap.push, args=("c1", tmp_path))
    pushing.start()
    deadline = time.monotonic() + 10
    while limit.read_text() != "max":
        assert time.monotonic() < deadline
    swap.stop("c1")
    pushing.join(10)
    assert not pushing.is_alive()
    assert limit.read_text() == "0"


def test_who_goes_on_before_it_begins_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "memory.usage_in_bytes", "1")
    asked = write(tmp_path / "memory.force_empty", "")
    swap = SwapOut()
    swap.begin("c1")
    swap.stop("c1")
    swap.push("c1", tmp_path)
    assert asked.read_text() == ""


def test_a_group_that_is_gone(tmp_path: Path) -> None:
    swap = SwapOut()
    swap.begin("c1")
    assert swap.push("c1", tmp_path / "none") == 0


async def test_a_pause_moves_memory_and_does_not_wait_for_it(
    api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime
) -> None:
    made = (await api.post("/v2/sandboxes", json={"templateID": "base"})).json()["sandboxID"]
    pushed = []

    def note(operation: str, name: str) -> None:
        if operation == "push_out":
            pushed.append(name)
            raise EngineError("the engine is busy")

    runtime.before = note
    assert (await api.post(f"/sandboxes/{made}/pause")).status_code == 204
    await installation.tasks.finish(5)
    assert pushed == [installation.service.get(made).container]
    assert (await api.post(f"/v2/sandboxes/{made}/connect", json={})).status_code == 201
    assert (await api.post(f"/sandboxes/{made}/pause", json={"memory": False})).status_code == 204
    await installation.tasks.finish(5)
    assert len(pushed) == 1, "what has no memory has none to move"


def test_the_doctor_tells() -> None:
    finding = examine_swap()
    assert finding.subject == "swap"
    assert finding.fix is None
    assert ("none" in finding.found) is (not read_swap()[0])
