"""What only the synchronous client has: handles that are read by whoever asks."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandlot import (
    CommandExitException,
    FileNotFoundException,
    FilesystemEvent,
    FilesystemEventType,
    InvalidArgumentException,
    NotFoundException,
    PtySize,
    Sandbox,
    SandboxException,
)
from support.fake_server import END, Exchange, FakeServer, chunk, end_error, frame, raw, reply, silence, stream
from support.messages import STARTED, ended, output, program

START = "process.Process/Start"
FS = "filesystem.Filesystem/"
INPUT = "process.Process/StreamInput"


def test_wait_calls_the_callbacks_it_is_given(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"out"), output(stderr=b"err"), output(pty=b"pty")))
    handle = Sandbox.create(**server.opts).commands.run("x", background=True)
    heard: list[Any] = []
    handle.wait(on_pty=heard.append, on_stdout=heard.append, on_stderr=heard.append)
    assert heard == ["out", "err", b"pty"]


def test_callbacks_given_in_the_background_are_called_when_the_output_is_read(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"out")))
    heard: list[str] = []
    handle = Sandbox.create(**server.opts).commands.run("x", background=True, on_stdout=heard.append)
    assert heard == []
    handle.wait()
    assert heard == ["out"]


def test_an_async_callback_is_refused(server: FakeServer) -> None:
    async def hear(_: str) -> None: ...

    server.on_rpc(START, program(output(stdout=b"out")))
    sandbox = Sandbox.create(**server.opts)
    with pytest.raises(InvalidArgumentException, match="AsyncSandbox"):
        sandbox.commands.run("x", on_stdout=hear)  # type: ignore[arg-type]


def test_reading_may_stop_and_go_on(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"1"), output(stdout=b"2"), code=1))
    handle = Sandbox.create(**server.opts).commands.run("x", background=True)
    for stdout, _, _ in handle:
        assert stdout == "1"
        break
    assert (handle.stdout, handle.exit_code) == ("1", None)
    for _ in range(2):
        with pytest.raises(CommandExitException):
            handle.wait()
    assert (handle.stdout, handle.exit_code, handle.error) == ("12", 1, "exit status 1")


def test_a_failure_stays(server: FakeServer) -> None:
    server.on_rpc(START, stream(STARTED, output(stdout=b"1"), end_error("internal", "oops")))
    handle = Sandbox.create(**server.opts).commands.run("x", background=True)
    for _ in range(2):
        with pytest.raises(SandboxException, match="oops"):
            handle.wait()
    assert handle.stdout == "1"


def test_a_handle_may_be_forgotten(server: FakeServer) -> None:
    server.on_rpc(START, stream(STARTED, then=silence()))
    Sandbox.create(**server.opts).commands.run("x", background=True)
    gc.collect()  # a warning about an open socket would fail the test


def test_terminal(server: FakeServer) -> None:
    server.on_rpc(START, program(output(pty=b"\xff")))
    handle = Sandbox.create(**server.opts).pty.create(PtySize(rows=2, cols=3), "root", "/tmp")
    assert list(handle) == [(None, None, b"\xff")]
    request = server.last("/" + START)
    assert request.headers["authorization"] == "Basic cm9vdDo="
    assert request.json["process"]["cwd"] == "/tmp"
    assert request.json["pty"] == {"size": {"rows": 2, "cols": 3}}


def test_watch(server: FakeServer) -> None:
    created = {"name": "a", "type": "EVENT_TYPE_CREATE"}
    server.on_rpc(FS + "CreateWatcher", reply(200, {"watcherId": "w1"}))
    server.on_rpc(
        FS + "GetWatcherEvents", reply(200, {"events": [created, {"type": "EVENT_TYPE_NEW"}]}), reply(200, {})
    )
    server.on_rpc(FS + "RemoveWatcher", reply(200, {}))
    watch = Sandbox.create(**server.opts).files.watch_dir("d", user="root", recursive=True, allow_network_mounts=True)
    request = server.last("/" + FS + "CreateWatcher")
    assert request.json == {"path": "d", "recursive": True, "allowNetworkMounts": True}
    assert watch.get_new_events() == [FilesystemEvent("a", FilesystemEventType.CREATE)]
    assert watch.get_new_events() == []
    watch.stop()
    request = server.last("/" + FS + "RemoveWatcher")
    assert (request.json, request.headers["authorization"]) == ({"watcherId": "w1"}, "Basic cm9vdDo=")
    with pytest.raises(SandboxException, match="already stopped"):
        watch.get_new_events()


def test_what_cannot_be_watched(server: FakeServer) -> None:
    server.on_rpc(FS + "CreateWatcher", reply(404, {"code": "not_found", "message": "no such dir"}))
    server.on_rpc(FS + "Stat", reply(404, {"code": "not_found", "message": "no such file"}))
    sandbox = Sandbox.create(**server.opts)
    with pytest.raises(FileNotFoundException, match="no such dir"):
        sandbox.files.watch_dir("d")
    with pytest.raises(FileNotFoundException, match="no such file"):
        sandbox.files.get_info("d")


def test_streamed_input(server: FakeServer) -> None:
    server.on_rpc(INPUT, stream({}, END), stream(end_error("not_found", "no pid 5")))
    sandbox = Sandbox.create(**server.opts)
    sandbox.commands.stream_input(5, (text for text in ["ä", b"\xff"]))
    body = server.last("/" + INPUT).body
    assert body.index(b'{"start": {"process": {"pid": 5}}}') < body.index(b"w6Q=") < body.index(b"/w==")
    with pytest.raises(NotFoundException, match="no pid 5"):
        sandbox.pty.stream_input(5, [b"x"])
    with pytest.raises(InvalidArgumentException, match="list"):
        sandbox.commands.stream_input(5, "text")


def test_threads_share_connections_but_never_an_exchange(server: FakeServer) -> None:
    numbers = [f"{number}".encode() for number in range(8)]
    server.on_rpc(START, *[program(output(stdout=number)) for number in numbers * 5], program())
    sandbox = Sandbox.create(**server.opts)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: sandbox.commands.run("x").stdout, range(40)))
    assert sorted(results) == sorted(number.decode() for number in numbers * 5)
    assert server.connections <= 9


def test_another_thread_may_end_a_command_that_is_waited_for(server: FakeServer) -> None:
    killed = asyncio.Event()

    async def end(exchange: Exchange) -> None:
        await killed.wait()
        await raw(chunk(frame(ended(137)) + END) + b"0\r\n\r\n")(exchange)

    async def kill(exchange: Exchange) -> None:
        killed.set()
        await reply(200, {})(exchange)

    server.on_rpc(START, stream(STARTED, then=end)).on_rpc("process.Process/SendSignal", kill)
    handle = Sandbox.create(**server.opts).commands.run("x", background=True)
    timer = threading.Timer(0.1, handle.kill)
    timer.start()
    with pytest.raises(CommandExitException, match="code 137"):
        handle.wait()
    timer.join()


def test_a_forked_child_opens_connections_of_its_own(server: FakeServer) -> None:
    program = f"""
import os
from sandlot import Sandbox
sandbox = Sandbox.create(api_url={server.url!r}, api_key="k")
if pid := os.fork():
    os.waitpid(pid, 0)
sandbox.is_running()
if not pid:
    os._exit(0)
print("done")
"""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert [request.connection for request in server.requests] == [1, 2, 1]
