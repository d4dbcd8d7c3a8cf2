"""What is sent to a command's standard input, through a real agent."""

from __future__ import annotations

import asyncio
import base64
import os
from hashlib import sha256

import pytest

from support.agent import Agent, RpcFailed, start_request


async def test_stdin_is_a_pipe_unless_refused(agent: Agent) -> None:
    for stdin in ({"stdin": True}, {"stdin": None}):
        async with agent.stream("process.Process/Start", start_request("cat", **stdin)) as events:
            pid = (await anext(events))["event"]["start"]["pid"]
            await agent.send_stdin(pid, b"hello")
            assert await anext(events) == {"event": {"data": {"stdout": base64.b64encode(b"hello").decode()}}}
            await agent.call("process.Process/CloseStdin", {"process": {"pid": pid}})
            assert (await anext(events))["event"]["end"]["exitCode"] == 0
    done = await agent.run("readlink", "/proc/self/fd/0")
    assert done.stdout == b"/dev/null\n"


async def test_large_input_arrives_whole_and_in_order(agent: Agent) -> None:
    data = os.urandom(3_000_000)
    async with agent.stream("process.Process/Start", start_request("sha256sum", stdin=True)) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        await agent.send_stdin(pid, data)
        await agent.call("process.Process/CloseStdin", {"process": {"pid": pid}})
        line = base64.b64decode((await anext(events))["event"]["data"]["stdout"])
        assert line.split()[0].decode() == sha256(data).hexdigest()


async def test_input_to_a_process_that_ends_unread_fails_instead_of_waiting(agent: Agent) -> None:
    async with agent.stream("process.Process/Start", start_request("sleep", "0.5", stdin=True)) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        with pytest.raises(RpcFailed) as failed:
            await asyncio.wait_for(agent.send_stdin(pid, b"x" * 1_000_000), 20)
        assert failed.value.code == "internal"
        assert "end" in (await anext(events))["event"]


async def test_input_errors(agent: Agent) -> None:
    async with agent.stream("process.Process/Start", start_request("sleep", "60")) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        for message, code in (
            ({"input": {"stdin": "aGk="}}, "internal"),
            ({"input": {"pty": "aGk="}}, "internal"),
            ({"input": {}}, "unimplemented"),
            ({}, "unimplemented"),
            ({"input": {"stdin": "!"}}, "invalid_argument"),
        ):
            with pytest.raises(RpcFailed) as failed:
                await agent.call("process.Process/SendInput", {"process": {"pid": pid}, **message})
            assert failed.value.code == code, message
        await agent.call("process.Process/CloseStdin", {"process": {"pid": pid}})
        with pytest.raises(RpcFailed, match="tty not assigned") as failed:
            await agent.call(
                "process.Process/Update", {"process": {"pid": pid}, "pty": {"size": {"rows": 1, "cols": 1}}}
            )
        assert failed.value.code == "internal"
        await agent.kill(pid)
