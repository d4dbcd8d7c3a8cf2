"""A kill is carried out when it is answered: whoever looks right after it finds no process."""

from __future__ import annotations

from pathlib import Path

from support.agent import Agent, start_request


async def test_the_process_is_gone_when_the_kill_is_answered(agent: Agent) -> None:
    still_there = []
    for _ in range(40):
        # Memory to give back makes the kernel take its time.
        hog = start_request("python3", "-c", "held = bytearray(64 << 20); print('up', flush=True); input()")
        async with agent.stream("process.Process/Start", {**hog, "stdin": True}) as events:
            pid = (await anext(events))["event"]["start"]["pid"]
            await anext(events)
            await agent.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})
            if Path(f"/proc/{agent.pid}/root/proc/{pid}").exists():
                still_there.append(pid)
    assert still_there == []
