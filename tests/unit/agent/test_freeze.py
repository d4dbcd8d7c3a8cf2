"""Time stands still between /freeze and /unfreeze."""

from __future__ import annotations

import asyncio

import pytest

from sandlot_envd import clock as clock_module
from sandlot_envd.clock import Clock
from support.agent import Agent, RpcFailed, start_request


async def test_a_deadline_does_not_come_while_frozen(own_agent: Agent) -> None:
    request = start_request("sleep", "60")
    async with own_agent.stream("process.Process/Start", request, {"Connect-Timeout-Ms": "500"}) as events:
        await anext(events)
        assert (await own_agent.control("POST", "/freeze")).status == 204
        assert (await own_agent.control("POST", "/freeze")).status == 204
        await asyncio.sleep(1)
        listed = (await own_agent.call("process.Process/List"))["processes"]
        assert len(listed) == 1
        assert (await own_agent.control("POST", "/unfreeze")).status == 204
        with pytest.raises(RpcFailed) as failed:
            await asyncio.wait_for(anext(events), 10)
        assert failed.value.code == "deadline_exceeded"


async def test_a_deadline_given_while_frozen_counts_from_the_thaw(own_agent: Agent) -> None:
    await own_agent.control("POST", "/freeze")
    request = start_request("sleep", "60")
    async with own_agent.stream("process.Process/Start", request, {"Connect-Timeout-Ms": "300"}) as events:
        await anext(events)
        await asyncio.sleep(0.6)
        assert (await own_agent.call("process.Process/List"))["processes"]
        await own_agent.init()  # thaws as well, whatever else it says
        with pytest.raises(RpcFailed):
            await asyncio.wait_for(anext(events), 10)


async def test_keepalives_do_not_pile_up_while_frozen(own_agent: Agent) -> None:
    headers = {"Keepalive-Ping-Interval": "1"}
    async with own_agent.stream("process.Process/Start", start_request("cat", stdin=True), headers) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        await own_agent.control("POST", "/freeze")
        await asyncio.sleep(1.5)
        await own_agent.call("process.Process/CloseStdin", {"process": {"pid": pid}})
        assert "end" in (await anext(events))["event"]


async def test_the_clock_leaves_frozen_time_out() -> None:
    clock = Clock()
    fired: list[str] = []
    clock.call_later(0.15, lambda: fired.append("a"))
    cancelled = clock.call_later(0.01, lambda: fired.append("never"))
    cancelled.cancel()
    cancelled.cancel()
    before = clock.now()
    clock.freeze()
    clock.freeze()
    stood = clock.now()
    late = clock.call_later(0.05, lambda: fired.append("b"))
    await asyncio.sleep(0.3)
    assert fired == []
    assert clock.now() == stood
    clock.unfreeze()
    clock.unfreeze()
    assert clock.now() - before < 0.15
    await asyncio.sleep(0.3)
    assert fired == ["b", "a"]
    late.cancel()


async def test_nobody_stays_frozen_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "MAX_FROZEN_S", 0.1)
    clock = Clock()
    fired = asyncio.Event()
    clock.freeze()
    clock.call_later(0.01, fired.set)
    await asyncio.wait_for(fired.wait(), 5)
