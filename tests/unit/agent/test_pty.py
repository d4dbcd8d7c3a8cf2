"""Terminals through a real agent."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.agent import Agent, Finished, RpcFailed, basic, start_request

SIZE = {"size": {"cols": 90, "rows": 30}}
USER = basic("user")


class Terminal:
    """A started terminal: types, and reads until it sees something."""

    def __init__(self, agent: Agent, pid: int, events: AsyncIterator[Any]) -> None:
        self.agent = agent
        self.pid = pid
        self.events = events
        self.seen = b""

    async def type(self, text: str) -> None:
        data = base64.b64encode(text.encode()).decode()
        await self.agent.call("process.Process/SendInput", {"process": {"pid": self.pid}, "input": {"pty": data}})

    async def wait_for(self, text: bytes) -> bytes:
        async with asyncio.timeout(20):
            while text not in self.seen:
                self.seen += base64.b64decode((await anext(self.events))["event"]["data"]["pty"])
        before, _, self.seen = self.seen.partition(text)
        return before

    async def end(self) -> Any:
        async with asyncio.timeout(20):
            async for one in self.events:
                if "end" in one["event"]:
                    return one["event"]["end"]
        raise AssertionError("no end")


def shell(agent: Agent, **fields: Any) -> Any:
    envs = {"TERM": "xterm-256color", "PS1": "$ ", "ENV": "", **fields.pop("envs", {})}
    return agent.stream("process.Process/Start", start_request("/bin/sh", "-i", envs=envs, pty=SIZE, **fields), USER)


async def opened(agent: Agent, events: AsyncIterator[Any]) -> Terminal:
    return Terminal(agent, (await anext(events))["event"]["start"]["pid"], events)


async def test_a_shell_on_a_terminal(agent: Agent) -> None:
    async with shell(agent, envs={"MARK": "m1"}, cwd="/tmp") as events:
        terminal = await opened(agent, events)
        await terminal.type("stty size; tty; pwd; echo $MARK-$TERM-end; ls -l $(tty); echo ctty > /dev/tty; exit 4\n")
        await terminal.wait_for(b"30 90\r\n/dev/pts/")
        await terminal.wait_for(b"/tmp\r\nm1-xterm-256color-end\r\n")
        assert b" user " in await terminal.wait_for(b"ctty\r\n")
        assert (await terminal.end())["exitCode"] == 4


async def test_the_process_leads_a_session_of_its_own(agent: Agent) -> None:
    async with shell(agent) as events:
        terminal = await opened(agent, events)
        await terminal.type("ps -o pid=,sid=,tty= -p $$; echo '<'done; exit\n")
        shown = await terminal.wait_for(b"<done")
        assert re.search(rb"%d +%d pts/\d+" % (terminal.pid, terminal.pid), shown), shown


async def test_resize_reaches_the_foreground(agent: Agent) -> None:
    async with shell(agent) as events:
        terminal = await opened(agent, events)
        await terminal.type("trap 'stty size' WINCH; echo 'rea'dy\n")
        await terminal.wait_for(b"ready\r\n")
        size = {"size": {"cols": 132, "rows": 50}}
        await agent.call("process.Process/Update", {"process": {"pid": terminal.pid}, "pty": size})
        await terminal.type("\n")
        await terminal.wait_for(b"50 132")
        await agent.call("process.Process/Update", {"process": {"pid": terminal.pid}})
        await terminal.type("exit\n")
        await terminal.end()


async def test_keys_that_are_signals(agent: Agent) -> None:
    async with shell(agent) as events:
        terminal = await opened(agent, events)
        await terminal.wait_for(b"$ ")
        await terminal.type("cat\n")
        await terminal.type("meow\n")
        await terminal.wait_for(b"meow\r\nmeow\r\n")  # once by the terminal, once by cat, which is at work then
        await terminal.type("\x03")
        await terminal.wait_for(b"$ ")  # cat may take what is typed before it has died
        await terminal.type("echo still $((1+1))\n")
        await terminal.wait_for(b"still 2")
        await terminal.type("\x04")
        assert (await terminal.end())["exited"] is True


async def test_reconnecting(agent: Agent) -> None:
    async with shell(agent) as events:
        terminal = await opened(agent, events)
        await terminal.type("echo first\n")
        await terminal.wait_for(b"first\r\n")
    async with agent.stream("process.Process/Connect", {"process": {"pid": terminal.pid}}) as events:
        again = await opened(agent, events)
        await again.type("echo second\n")
        await again.wait_for(b"second\r\n")
        await agent.call("process.Process/SendSignal", {"process": {"pid": again.pid}, "signal": "SIGNAL_SIGKILL"})
        assert (await again.end())["status"] == "signal: killed"
    done = await agent.run("sh", "-c", f"kill -0 {terminal.pid}")
    assert done.end["exitCode"] != 0


async def test_much_output_arrives_whole_and_in_order(agent: Agent) -> None:
    request = start_request("sh", "-c", "stty -opost; seq 1 400000", pty=SIZE)
    largest, output = 0, b""
    async with agent.stream("process.Process/Start", request) as events:
        async for one in events:
            chunk = base64.b64decode(one["event"].get("data", {}).get("pty", ""))
            largest = max(largest, len(chunk))
            output += chunk
    assert output == b"".join(b"%d\n" % n for n in range(1, 400_001))
    assert largest <= 16 * 1024


async def test_much_input_waits_for_its_reader(agent: Agent) -> None:
    script = "stty raw -echo; echo ready; head -c 300000 | sha256sum"
    async with agent.stream("process.Process/Start", start_request("sh", "-c", script, pty=SIZE)) as events:
        terminal = await opened(agent, events)
        await terminal.wait_for(b"ready")
        await terminal.type("x" * 300_000)
        from hashlib import sha256

        await terminal.wait_for(sha256(b"x" * 300_000).hexdigest().encode())
        await terminal.end()


async def test_what_a_terminal_has_not(agent: Agent) -> None:
    async with shell(agent) as events:
        terminal = await opened(agent, events)
        process = {"process": {"pid": terminal.pid}}
        with pytest.raises(RpcFailed) as failed:
            await agent.call("process.Process/SendInput", process | {"input": {"stdin": "aGk="}})
        assert failed.value.code == "internal"
        with pytest.raises(RpcFailed, match="0x04") as failed:
            await agent.call("process.Process/CloseStdin", process)
        assert (failed.value.code, failed.value.status) == ("unknown", 500)
        await agent.call("process.Process/SendSignal", process | {"signal": 9})


async def test_size_is_optional_and_bounded(agent: Agent) -> None:
    for pty, wanted in (({}, b"0 0"), ({"size": {"rows": 65536 + 7, "cols": "80"}}, b"7 80")):
        events = await agent.collect("process.Process/Start", start_request("stty", "size", pty=pty))
        assert Finished.read([one["event"] for one in events]).pty.strip() == wanted


async def test_a_missing_program_on_a_terminal(agent: Agent) -> None:
    done = await agent.run("no-such-program", pty=SIZE)
    assert done.end["exitCode"] == 127
    assert b"not found" in done.pty


async def test_many_terminals_leave_no_descriptors(own_agent: Agent) -> None:
    import os

    folder = f"/proc/{own_agent.pid}/fd"
    await own_agent.run("true", pty=SIZE)
    before = len(os.listdir(folder))
    results = await asyncio.gather(*(own_agent.run("echo", str(n), pty=SIZE) for n in range(40)))
    assert [done.pty for done in results] == [b"%d\r\n" % n for n in range(40)]
    async with asyncio.timeout(10):
        while len(os.listdir(folder)) > before:
            await asyncio.sleep(0.05)
