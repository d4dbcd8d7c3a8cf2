"""What only the asynchronous client has: callbacks in the background, cancellation, tasks with an owner."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from typing import Any

import pytest

from sandlot import (
    AsyncSandbox,
    FileNotFoundException,
    FilesystemEvent,
    FilesystemEventType,
    NotFoundException,
    ProtocolException,
    PtySize,
    SandboxException,
    SandboxNotRunningException,
    SandboxUnreachableException,
    TemplateException,
    TimeoutException,
)
from support.fake_server import END, SANDBOX, FakeServer, cut, end_error, reply, silence, stream
from support.messages import STARTED, ended, output, program

START = "process.Process/Start"
WATCH = "filesystem.Filesystem/WatchDir"
INPUT = "process.Process/StreamInput"
CREATED = {"filesystem": {"name": "a", "type": "EVENT_TYPE_CREATE"}}


async def settle() -> None:
    """Return when no task but the test's own is left."""
    deadline = time.monotonic() + 5
    while len(asyncio.all_tasks()) > 1:
        assert time.monotonic() < deadline, asyncio.all_tasks()
        await asyncio.sleep(0.01)


async def test_async_callbacks_are_awaited_in_order(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"1"), output(stdout=b"2")))
    heard = []

    async def hear(text: str) -> None:
        await asyncio.sleep(0.01)
        heard.append(text)

    sandbox = await AsyncSandbox.create(**server.opts)
    await sandbox.commands.run("x", on_stdout=hear)
    handle = await sandbox.commands.run("x", background=True, on_stdout=hear)
    await handle.wait()
    assert heard == ["1", "2", "1", "2"]


async def test_output_is_heard_without_waiting(server: FakeServer) -> None:
    server.on_rpc(START, stream(STARTED, output(stdout=b"word"), then=silence()))
    sandbox = await AsyncSandbox.create(**server.opts)
    heard = asyncio.get_running_loop().create_future()
    handle = await sandbox.commands.run("x", background=True, on_stdout=heard.set_result)
    assert await asyncio.wait_for(heard, 5) == "word"
    assert (handle.stdout, handle.exit_code, handle.error) == ("word", None, None)
    await handle.disconnect()
    await settle()


async def test_a_callbacks_error_is_kept_for_whoever_waits(server: FakeServer) -> None:
    async def fail(text: str) -> None:
        raise KeyError(text)

    server.on_rpc(START, program(output(stderr=b"word")))
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.commands.run("x", background=True, on_stderr=fail)
    for _ in range(2):
        with pytest.raises(KeyError, match="word"):
            await handle.wait()
    with pytest.raises(KeyError):
        [each async for each in handle]
    await settle()


async def test_a_callbacks_error_is_logged_if_nobody_waits(server: FakeServer) -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    server.on_rpc(START, program(output(stdout=b"word")))
    sandbox = await AsyncSandbox.create(**server.opts)
    await sandbox.commands.run("x", background=True, on_stdout=lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    await settle()
    gc.collect()
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


async def test_a_cancelled_wait_leaves_the_command_followed(server: FakeServer) -> None:
    go_on = asyncio.Event()

    async def hear(_: str) -> None:
        await go_on.wait()

    server.on_rpc(START, program(output(stdout=b"x")))
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.commands.run("x", background=True, on_stdout=hear)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handle.wait(), 0.05)
    go_on.set()
    assert (await handle.wait()).stdout == "x"


async def test_a_cancelled_run_ends_its_connection(server: FakeServer) -> None:
    server.on_rpc(START, stream(STARTED, then=silence()))
    sandbox = await AsyncSandbox.create(**server.opts)
    run = asyncio.create_task(sandbox.commands.run("sleep 1000", timeout=0))
    await asyncio.sleep(0.1)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await sandbox.is_running()
    assert server.connections == 2
    await settle()


@pytest.mark.parametrize("slow", ["/v2/sandboxes", "/health", "/files"])
async def test_a_cancelled_call_leaves_nothing_behind(server: FakeServer, slow: str) -> None:
    sandbox = await AsyncSandbox.create(**server.opts)
    for method in ("GET", "POST"):
        server.on(method, slow, silence())
    call: dict[str, Any] = {
        "/v2/sandboxes": lambda: AsyncSandbox.create(**server.opts),
        "/health": sandbox.is_running,
        "/files": lambda: sandbox.files.write_files([{"path": 'a"', "data": b"1"}, {"path": "b", "data": b"2"}]),
    }
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call[slow](), 0.1)
    await settle()


async def test_late_readers_get_all_of_the_output(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"1"), output(stderr=b"2"), code=1))
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.commands.run("x", background=True)
    first, second = await asyncio.gather(*[collect(handle) for _ in range(2)])
    assert first == second == await collect(handle) == [("1", None, None), (None, "2", None)]


async def collect(handle: Any) -> list[Any]:
    return [each async for each in handle]


async def test_a_reader_may_stop_early(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"1"), output(stdout=b"2")))
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.commands.run("x", background=True)
    async for stdout, _, _ in handle:
        assert stdout == "1"
        break
    assert (await handle.wait()).stdout == "12"


async def test_a_handle_that_nobody_keeps_goes_on(server: FakeServer) -> None:
    heard: list[str] = []
    server.on_rpc(START, program(output(stdout=b"1")))
    sandbox = await AsyncSandbox.create(**server.opts)
    await sandbox.commands.run("x", background=True, on_stdout=heard.append)
    await settle()
    assert heard == ["1"]


async def test_a_command_ends_with_its_sandbox(server: FakeServer) -> None:
    server.on_rpc(START, stream(STARTED, output(stdout=b"1"), then=cut()))
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.commands.run("x", background=True)
    server.on("GET", "/health", reply(502, {"message": "The sandbox was not found"}))
    with pytest.raises(SandboxNotRunningException, match="end of life"):
        await handle.wait()
    assert handle.stdout == "1"


async def test_terminal(server: FakeServer) -> None:
    server.on_rpc(START, program(output(pty=b"\x1b[1m"), output(pty=b"\xff")))
    sandbox = await AsyncSandbox.create(**server.opts)
    seen = bytearray()
    handle = await sandbox.pty.create(PtySize(rows=2, cols=3), seen.extend, user="root", envs={"TERM": "dumb"})
    await handle.wait()
    assert seen == b"\x1b[1m\xff"
    assert server.last("/" + START).json == {
        "process": {
            "cmd": "/bin/bash",
            "args": ["-i", "-l"],
            "envs": {"TERM": "dumb", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
        },
        "pty": {"size": {"rows": 2, "cols": 3}},
    }


async def test_watch(server: FakeServer) -> None:
    unknown = {"filesystem": {"name": "a", "type": "EVENT_TYPE_MELTED"}}
    server.on_rpc(WATCH, stream({"start": {}}, {"keepalive": {}}, CREATED, unknown, END))
    sandbox = await AsyncSandbox.create(**server.opts)
    events: list[FilesystemEvent] = []
    over = asyncio.get_running_loop().create_future()

    async def hear(event: FilesystemEvent) -> None:
        events.append(event)

    await sandbox.files.watch_dir(
        "d", hear, over.set_result, user="root", timeout=9, recursive=True, include_entry=True
    )
    assert await asyncio.wait_for(over, 5) is None
    assert events == [FilesystemEvent("a", FilesystemEventType.CREATE)]
    request = server.last("/" + WATCH)
    assert request.json == {"path": "d", "recursive": True, "includeEntry": True}
    assert request.headers["connect-timeout-ms"] == "9000"
    await settle()


async def test_a_watch_that_is_stopped(server: FakeServer) -> None:
    server.on_rpc(WATCH, stream({"start": {}}, then=silence()))
    sandbox = await AsyncSandbox.create(**server.opts)
    ends: list[Exception | None] = []
    handle = await sandbox.files.watch_dir("d", print, ends.append)
    await handle.stop()
    await handle.stop()
    assert ends == [None]
    assert await sandbox.is_running()
    await settle()


async def test_a_watch_may_be_stopped_by_its_own_callback(server: FakeServer) -> None:
    server.on_rpc(WATCH, stream({"start": {}}, CREATED, CREATED, then=silence()))
    sandbox = await AsyncSandbox.create(**server.opts)
    events = []

    async def hear(event: FilesystemEvent) -> None:
        events.append(event)
        await handle.stop()

    handle = await sandbox.files.watch_dir("d", hear)
    await settle()
    assert len(events) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (stream({"start": {}}, CREATED, then=cut()), SandboxUnreachableException),
        (stream({"start": {}}, end_error("deadline_exceeded", "over")), TimeoutException),
        (
            stream({"start": {}}, {"filesystem": {"type": "EVENT_TYPE_WRITE", "entry": {"size": "x"}}}),
            ProtocolException,
        ),
    ],
)
async def test_why_a_watch_ended(server: FakeServer, answer: Any, expected: type[Exception]) -> None:
    server.on_rpc(WATCH, answer)
    sandbox = await AsyncSandbox.create(**server.opts)
    over = asyncio.get_running_loop().create_future()
    await sandbox.files.watch_dir("d", print, over.set_result)
    assert isinstance(await asyncio.wait_for(over, 5), expected)


async def test_a_watch_whose_failure_nobody_hears_of_is_logged(server: FakeServer) -> None:
    def fail(_: FilesystemEvent) -> None:
        raise KeyError

    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    server.on_rpc(WATCH, stream({"start": {}}, CREATED, END))
    sandbox = await AsyncSandbox.create(**server.opts)
    await sandbox.files.watch_dir("d", fail)
    await settle()
    assert isinstance(reports[0]["exception"], KeyError)


async def test_what_cannot_be_watched(server: FakeServer) -> None:
    server.on_rpc(WATCH, stream(end_error("not_found", "no such dir")), stream(CREATED), silence())
    sandbox = await AsyncSandbox.create(**server.opts)
    with pytest.raises(FileNotFoundException, match="no such dir"):
        await sandbox.files.watch_dir("d", print)
    with pytest.raises(ProtocolException, match="start watch"):
        await sandbox.files.watch_dir("d", print)
    with pytest.raises(TimeoutException, match="request_timeout"):
        await sandbox.files.watch_dir("d", print, timeout=0, request_timeout=0.2)
    server.on("POST", "/v2/sandboxes", reply(201, {**SANDBOX, "envdVersion": "0.1.3"}))
    old = await AsyncSandbox.create(**server.opts)
    for option in ("recursive", "include_entry", "allow_network_mounts"):
        with pytest.raises(TemplateException, match="agent version"):
            await old.files.watch_dir("d", print, **{option: True})
    await settle()


async def test_streamed_input(server: FakeServer) -> None:
    server.on_rpc(INPUT, stream({}, END))
    sandbox = await AsyncSandbox.create(**server.opts)
    async with sandbox.commands.stream_input(5) as stdin:
        await stdin.send("ä")
        await stdin.send(b"\xff")
    frames = server.last("/" + INPUT).body
    assert frames.count(b'{"data": {"input": {"stdin": ') == 2
    assert frames.index(b'{"start": {"process": {"pid": 5}}}') < frames.index(b"w6Q=") < frames.index(b"/w==")
    with pytest.raises(SandboxException, match="closed"):
        await stdin.send("more")
    keys = sandbox.pty.stream_input(5)
    await keys.send(b"q")
    await keys.close()
    assert b'{"pty": "cQ=="}' in server.last("/" + INPUT).body
    await settle()


async def test_streamed_input_that_is_refused(server: FakeServer) -> None:
    server.on_head = {"/" + INPUT: stream(end_error("not_found", "no pid 5"))}
    sandbox = await AsyncSandbox.create(**server.opts)
    stdin = sandbox.commands.stream_input(5)

    async def send_on() -> None:
        while True:
            await stdin.send("x")
            await asyncio.sleep(0.01)

    with pytest.raises(NotFoundException, match="no pid 5"):
        await asyncio.wait_for(send_on(), 5)
    with pytest.raises(NotFoundException, match="no pid 5"):
        await stdin.close()
    await settle()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_process_ends_when_its_main_ends(server: FakeServer, loop: str) -> None:
    """Handles, watches and idle connections are left open, twice, and nothing hangs or is complained of."""
    server.on_rpc(START, stream(STARTED, output(stdout=b"1"), then=silence()))
    server.on_rpc(WATCH, stream({"start": {}}, then=silence()))
    program = f"""
import asyncio
from sandlot import AsyncSandbox
async def main():
    sandbox = await AsyncSandbox.create(api_url={server.url!r}, api_key="k")
    handle = await sandbox.commands.run("x", background=True, timeout=0)
    await sandbox.commands.run("x", background=True, on_stdout=lambda _: None)
    await sandbox.files.watch_dir("d", print, timeout=0)
    stdin = sandbox.commands.stream_input(5)
    async for _ in handle: break
{"import uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())" if loop == "uvloop" else ""}
asyncio.run(main())
asyncio.run(main())
print("done")
"""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


async def test_end_of_a_command_without_its_output(server: FakeServer) -> None:
    server.on_rpc(START, stream(STARTED, ended(), END))
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.commands.run("x", background=True, retain_output=False)
    result = await handle.wait()
    assert (result.stdout, handle.stdout, await collect(handle)) == (None, None, [])
