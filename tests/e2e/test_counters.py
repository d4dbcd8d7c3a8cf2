"""What a sandbox uses is read from the host's control groups, and is what its own agent would tell."""

from __future__ import annotations

import psutil
import pytest
from crash.chaos import list_pids
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
    with Sandbox.create(timeout=200, **server.options) as sandbox:
        (pid,) = list_pids(server.installation)
        if not is_of_this_host(pid):
            pytest.skip("the engine is on another machine")
        agent = psutil.Process(pid)

        def sleeps_through_two_samples() -> bool:
            before, seen = agent.num_ctx_switches(), len(sandbox.get_metrics())
            wait_until(lambda: len(sandbox.get_metrics()) >= seen + 2, "two more samples", 60)
            return agent.num_ctx_switches() == before

        wait_until(sleeps_through_two_samples, "the host is read, and the agent left alone", 60)
