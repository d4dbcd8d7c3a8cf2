"""What a sandbox uses is read from the host's control groups, and is what its own agent would tell."""

from __future__ import annotations

import subprocess

import psutil
import pytest
from crash.chaos import list_containers
from e2b import Sandbox

from sandlot_server.runtime.boot_ids import is_of_this_host
from support.live import LiveServer, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]

BURN = "timeout 60 sh -c 'while :; do :; done'"
HOLD = "python3 -c 'import time; held = bytearray(200 << 20); time.sleep(60)'"
MIB = 1 << 20


@pytest.fixture(scope="module")
def server_settings() -> dict[str, str]:
    return {"SANDLOT_POOL_SIZE": "0"}


def test_one_busy_core_of_two_shows(server: LiveServer) -> None:
    with Sandbox.create(timeout=120, **server.options) as sandbox:
        sandbox.commands.run(f"head -c 100M /dev/urandom >big; {HOLD} & {BURN}", background=True)
        wait_until(lambda: any(40 < one.cpu_used_pct <= 100 for one in sandbox.get_metrics()), "a busy core shows", 60)
        newest = sandbox.get_metrics()[-1]
        size = sandbox.commands.run("df --block-size=1 --output=size / | tail -1").stdout
    assert newest.cpu_count == 2
    assert newest.mem_total == 1024 * MIB
    assert 200 * MIB < newest.mem_used < 400 * MIB, "without what can be dropped"
    assert newest.disk_total == int(size)


def test_an_idle_agent_is_not_woken(server: LiveServer) -> None:
    with Sandbox.create(timeout=120, **server.options) as sandbox:
        wait_until(lambda: len(sandbox.get_metrics()) >= 3, "the host is read", 60)
        agent = find_agent(server)
        before = agent.num_ctx_switches()
        seen = len(sandbox.get_metrics())
        wait_until(lambda: len(sandbox.get_metrics()) >= seen + 2, "two more samples", 60)
        assert agent.num_ctx_switches() == before


def find_agent(server: LiveServer) -> psutil.Process:
    command = ["docker", "inspect", "--format", "{{.State.Pid}}", *list_containers(server.installation)]
    pids = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert len(pids) == 1, "no container waits in a pool"
    if not is_of_this_host(int(pids[0])):
        pytest.skip("the engine is on another machine")
    return psutil.Process(int(pids[0]))
