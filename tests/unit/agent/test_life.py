"""The agent as PID 1: orphans, signals, secrets, an orderly end, and how little it does when nothing happens."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

from support.agent import CONTROL_TOKEN, Agent, basic, start_request


async def test_orphans_are_reaped(own_agent: Agent) -> None:
    # Each shell leaves a child that ends after it; PID 1 inherits them all.
    await asyncio.gather(*(own_agent.run("sh", "-c", "sleep 0.2 >/dev/null 2>&1 &") for _ in range(20)))
    async with asyncio.timeout(10):
        while Path(f"/proc/{own_agent.pid}/task/{own_agent.pid}/children").read_text():
            await asyncio.sleep(0.05)
    done = await own_agent.run("sh", "-c", "ps -A -o stat= | grep -c Z")
    assert done.stdout == b"0\n"


async def test_sigterm_ends_the_agent_in_order(own_agent: Agent) -> None:
    marker = own_agent.home / "asked"
    script = f"trap 'touch {marker}; exit' TERM; echo ready; while :; do sleep 0.1; done"
    async with own_agent.stream("process.Process/Start", start_request("sh", "-c", script)) as events:
        await anext(events)
        await anext(events)
        started = time.monotonic()
        os.kill(own_agent.pid, signal.SIGTERM)
        own_agent.process.wait(20)
        assert time.monotonic() - started < 2
        assert marker.exists()
    assert own_agent.process.returncode == 0


async def test_processes_that_do_not_listen_do_not_hold_up_the_end(own_agent: Agent) -> None:
    request = start_request("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
    async with own_agent.stream("process.Process/Start", request) as events:
        await anext(events)
        await anext(events)
        os.kill(own_agent.pid, signal.SIGTERM)
        own_agent.process.wait(20)


async def test_nobody_inside_can_kill_it_or_see_its_secrets(agent: Agent) -> None:
    await agent.run("sh", "-c", "kill -9 1; kill -STOP 1; kill -INT 99999; true")
    assert (await agent.request("GET", "/health")).status == 204
    done = await agent.run("sh", "-c", "tr '\\0' '\\n' < /proc/1/environ; env", headers=basic("user"))
    assert CONTROL_TOKEN.encode() not in done.stdout + done.stderr
    environ = Path(f"/proc/{agent.pid}/environ")
    assert environ.stat().st_uid == 0


PEEK = """
import ctypes, os
for capability in (19, 21, 38):  # SYS_PTRACE, SYS_ADMIN and PERFMON, none of which root of a sandbox has
    ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP
os.execvp("sh", ["sh", "-c", "cat /proc/1/environ /proc/1/maps /proc/1/mem; readlink /proc/1/fd/1 /proc/1/exe"])
"""


async def test_root_cannot_look_into_it_without_the_capabilities(agent: Agent) -> None:
    done = await agent.run("python3", "-c", PEEK, envs={"PATH": os.environ["PATH"]})
    assert done.stdout == b"", done
    assert done.end["exitCode"] != 0


async def test_children_can_be_traced_as_usual(agent: Agent) -> None:
    done = await agent.run(
        "sh", "-c", "cat /proc/$$/environ | head -c1; ls /proc/$$/fd | head -1", headers=basic("user")
    )
    assert done.end["exitCode"] == 0
    assert not done.stderr


async def test_it_rests_when_nothing_happens(own_agent: Agent) -> None:
    await own_agent.run("true")
    async with own_agent.stream("process.Process/Start", start_request("sleep", "60")) as events:
        await anext(events)

        def count_switches() -> int:
            text = Path(f"/proc/{own_agent.pid}/status").read_text()
            return sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)

        await asyncio.sleep(0.5)
        before = count_switches()
        await asyncio.sleep(1.5)
        assert count_switches() == before


async def test_its_log_is_json_and_bounded(own_agent: Agent) -> None:
    await own_agent.run("echo", "noted")
    lines = Path(own_agent.home.parent / "log").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    told = [f"listening on {own_agent.port}", "process started", "process ended"]
    assert [entry["message"] for entry in entries] == told
    assert all(entry["logger"] == "envd" and entry["level"] == "info" for entry in entries)
    assert entries[1]["pid"] == entries[2]["pid"]
    # Log lines that are left out are counted, and never hold the agent up.
    await asyncio.gather(*(own_agent.run("true") for _ in range(150)))
    size = len(Path(own_agent.home.parent / "log").read_text().splitlines())
    assert size <= 3 + 300 + 2


async def test_threads_at_work_do_not_change_who_a_command_is(own_agent: Agent) -> None:
    """While a thread reads a file the agent must not be somebody else: then commands start by the slower way."""
    big = own_agent.home / "big"
    with big.open("wb") as file:
        file.truncate(200_000_000)
    headers = {"Accept-Encoding": "gzip"}

    async def download() -> int:
        return (await own_agent.request("GET", f"/files?path={big}", headers=headers)).status

    downloading = asyncio.create_task(download())
    for _ in range(20):
        done = await own_agent.run("sh", "-c", "id -u; cat /proc/self/oom_score_adj", headers=basic("user"))
        assert done.stdout == b"1000\n100\n"
    assert await downloading == 200


async def test_stalled_clients_cost_bounded_memory(own_agent: Agent) -> None:
    async def stall(n: int) -> None:
        request = start_request("sh", "-c", "head -c 50000000 /dev/zero; echo")
        async with own_agent.stream("process.Process/Start", request) as events:
            await anext(events)
            await asyncio.sleep(1.5)

    tasks = [asyncio.create_task(stall(n)) for n in range(20)]
    await asyncio.sleep(1)
    assert (await own_agent.request("GET", "/health")).status == 204
    rss = int(Path(f"/proc/{own_agent.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    assert rss < 150_000_000
    await asyncio.gather(*tasks)
