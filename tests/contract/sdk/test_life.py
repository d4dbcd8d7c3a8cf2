"""What a user of the official Python SDK does first, in both its forms. Also run with an SDK of an earlier era.

Imports only e2b, pytest and the standard library; the endpoint and key come from the environment.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from e2b import AsyncSandbox, CommandExitException, NotFoundException, PtySize, Sandbox, SandboxException, SandboxQuery

Kind = type[Sandbox] | type[AsyncSandbox]
Body = Callable[[Any, Kind], Coroutine[Any, Any, None]]

both = pytest.mark.parametrize("kind", [Sandbox, AsyncSandbox])


async def of(value: Any) -> Any:
    """The same scenario serves both forms: await what the asynchronous one returns."""
    return await value if inspect.isawaitable(value) else value


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all: the earlier SDK keeps its connections across tests."""
    with asyncio.Runner() as runner:
        yield runner


def in_sandbox(runner: asyncio.Runner, kind: Kind, body: Body, **options: Any) -> None:
    async def run() -> None:
        sandbox = await of(kind.create(timeout=120, **options))
        try:
            await body(sandbox, kind)
        finally:
            await of(sandbox.kill())

    runner.run(run())


@both
def test_streams_output_of_a_command(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        out: list[str] = []
        err: list[str] = []
        result = await of(
            sandbox.commands.run("echo one; echo two >&2; echo three", on_stdout=out.append, on_stderr=err.append)
        )
        assert result.exit_code == 0
        assert result.stdout == "one\nthree\n"
        assert result.stderr == "two\n"
        assert "".join(out) == result.stdout
        assert "".join(err) == result.stderr

    in_sandbox(runner, kind, body)


@both
def test_output_arrives_while_the_command_runs(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        seen: list[float] = []
        await of(
            sandbox.commands.run("echo first; sleep 1; echo last", on_stdout=lambda _: seen.append(time.monotonic()))
        )
        assert len(seen) == 2
        assert seen[1] - seen[0] > 0.5

    in_sandbox(runner, kind, body)


@both
def test_a_failing_command_raises(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        with pytest.raises(CommandExitException) as caught:
            await of(sandbox.commands.run("echo out; echo bad >&2; exit 7"))
        assert caught.value.exit_code == 7
        assert caught.value.stdout == "out\n"
        assert caught.value.stderr == "bad\n"

    in_sandbox(runner, kind, body)


@both
def test_runs_as_the_default_user_at_home(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        result = await of(sandbox.commands.run("whoami; pwd; umask; echo $HOME"))
        assert result.stdout.split() == ["user", "/home/user", "0022", "/home/user"]
        root = await of(sandbox.commands.run("id -u", user="root"))
        assert root.stdout == "0\n"

    in_sandbox(runner, kind, body)


@both
def test_environment_metadata_and_info(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        result = await of(sandbox.commands.run("echo $COLOUR-$E2B_SANDBOX-$E2B_SANDBOX_ID", envs={"EXTRA": "1"}))
        assert result.stdout == f"blue-true-{sandbox.sandbox_id}\n"
        info = await of(sandbox.get_info())
        assert info.sandbox_id == sandbox.sandbox_id
        assert info.metadata == {"job": "42"}
        assert 100 < (info.end_at - info.started_at).total_seconds() <= 121

    in_sandbox(runner, kind, body, envs={"COLOUR": "blue"}, metadata={"job": "42"})


@both
def test_files_as_text_and_bytes(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        files = sandbox.files
        written = await of(files.write("deep/er/a.txt", "héllo\n"))
        assert written.path == "/home/user/deep/er/a.txt"
        assert await of(files.read("deep/er/a.txt")) == "héllo\n"
        await of(files.write("/tmp/raw", bytes(range(256))))
        assert bytes(await of(files.read("/tmp/raw", format="bytes"))) == bytes(range(256))
        assert await of(files.exists("deep/er/a.txt"))
        assert [entry.name for entry in await of(files.list("deep/er"))] == ["a.txt"]
        await of(files.rename("deep/er/a.txt", "b.txt"))
        assert not await of(files.exists("deep/er/a.txt"))
        info = await of(files.get_info("b.txt"))
        assert (info.size, info.permissions, info.owner, info.mode) == (7, "-rw-r--r--", "user", 0o644)
        assert await of(files.make_dir("made"))
        assert not await of(files.make_dir("made"))
        await of(files.remove("b.txt"))
        with pytest.raises(NotFoundException):
            await of(files.read("b.txt"))

    in_sandbox(runner, kind, body)


@both
def test_an_empty_file_stays_empty(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        await of(sandbox.files.write("empty", ""))
        assert await of(sandbox.files.read("empty")) == ""

    in_sandbox(runner, kind, body)


@both
def test_fifty_megabytes_there_and_back(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        data = os.urandom(1 << 20) * 50
        await of(sandbox.files.write("big", data, request_timeout=120))
        told = await of(sandbox.commands.run("sha256sum big | cut -d' ' -f1"))
        assert told.stdout.strip() == hashlib.sha256(data).hexdigest()
        back = await of(sandbox.files.read("big", format="bytes", request_timeout=120))
        assert bytes(back) == data

    in_sandbox(runner, kind, body)


@both
def test_a_background_command_takes_input_and_dies(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        handle = await of(sandbox.commands.run("head -n 1; sleep 60", background=True, stdin=True))
        assert handle.pid in [process.pid for process in await of(sandbox.commands.list())]
        await of(sandbox.commands.send_stdin(handle.pid, "through\n"))
        assert await of(handle.kill())
        with pytest.raises(CommandExitException):
            await of(handle.wait())
        assert handle.pid not in [process.pid for process in await of(sandbox.commands.list())]
        assert not await of(sandbox.commands.kill(handle.pid))

    in_sandbox(runner, kind, body)


@both
def test_input_comes_back_out(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        handle = await of(sandbox.commands.run("head -n 2", background=True, stdin=True))
        await of(sandbox.commands.send_stdin(handle.pid, "uno\n"))
        await of(sandbox.commands.send_stdin(handle.pid, "dos\n"))
        result = await of(handle.wait())
        assert result.stdout == "uno\ndos\n"

    in_sandbox(runner, kind, body)


@both
def test_two_commands_at_once(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        # Each waits for the other's file: they end only when both run at the same time.
        command = "touch {0}; for _ in $(seq 100); do [ -e {1} ] && exit 0; sleep 0.1; done; exit 1"
        first = await of(sandbox.commands.run(command.format("a", "b"), background=True))
        second = await of(sandbox.commands.run(command.format("b", "a"), background=True))
        assert (await of(first.wait())).exit_code == 0
        assert (await of(second.wait())).exit_code == 0

    in_sandbox(runner, kind, body)


@both
def test_a_terminal(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        seen: list[bytes] = []
        # The asynchronous form takes the callback at the start, the other one while it waits.
        at_start, at_wait = ({"on_data": seen.append}, {}) if kind is AsyncSandbox else ({}, {"on_pty": seen.append})
        terminal = await of(sandbox.pty.create(size=PtySize(rows=30, cols=100), timeout=30, **at_start))
        await of(sandbox.pty.send_stdin(terminal.pid, b"tput cols; tty; exit 3\n"))
        with pytest.raises(CommandExitException) as caught:
            await of(terminal.wait(**at_wait))
        assert caught.value.exit_code == 3
        assert b"100" in b"".join(seen)
        assert b"/dev/pts/" in b"".join(seen)

    in_sandbox(runner, kind, body)


@both
def test_set_timeout_moves_the_end(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        before = (await of(sandbox.get_info())).end_at
        await of(sandbox.set_timeout(600))
        assert ((await of(sandbox.get_info())).end_at - before).total_seconds() > 400

    in_sandbox(runner, kind, body)


@both
def test_list_finds_by_metadata(kind: Kind, runner: asyncio.Runner) -> None:
    mark = f"weird & = % {uuid.uuid4()}"

    async def body(sandbox: Any, kind: Kind) -> None:
        found = await of(kind.list(query=SandboxQuery(metadata={"mark": mark})).next_items())
        assert [one.sandbox_id for one in found] == [sandbox.sandbox_id]
        other = await of(kind.list(query=SandboxQuery(metadata={"mark": "no such"})).next_items())
        assert other == []

    in_sandbox(runner, kind, body, metadata={"mark": mark})


@both
def test_another_process_connects(kind: Kind, runner: asyncio.Runner) -> None:
    async def body(sandbox: Any, kind: Kind) -> None:
        await of(sandbox.files.write("note", "left here"))
        script = f"from e2b import Sandbox; print(Sandbox.connect({sandbox.sandbox_id!r}).files.read('note'))"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert done.stdout == "left here\n", done.stderr

    in_sandbox(runner, kind, body)


@both
def test_killed_twice(kind: Kind, runner: asyncio.Runner) -> None:
    async def run() -> None:
        sandbox = await of(kind.create(timeout=60))
        assert await of(sandbox.is_running())
        assert await of(sandbox.kill()) is True
        assert await of(sandbox.kill()) is False
        assert not await of(sandbox.is_running())
        # The earlier SDK has no exception of its own for this.
        with pytest.raises(SandboxException, match=r"doesn't exist|not found"):
            await of(kind.connect(sandbox.sandbox_id))

    runner.run(run())


@both
def test_gone_after_its_timeout(kind: Kind, runner: asyncio.Runner) -> None:
    async def run() -> None:
        sandbox = await of(kind.create(timeout=2))
        deadline = time.monotonic() + 4
        while await of(sandbox.is_running()):
            assert time.monotonic() < deadline, "still answers two seconds after its end"
            await asyncio.sleep(0.1)
        assert await of(sandbox.kill()) is False

    runner.run(run())
