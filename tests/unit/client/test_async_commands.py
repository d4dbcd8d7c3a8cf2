"""Commands and terminals against a server that answers as it is told."""

from __future__ import annotations

import pickle

import pytest

from sandlot import (
    AsyncSandbox,
    CommandExitException,
    CommandResult,
    InvalidArgumentException,
    NotFoundException,
    ProcessInfo,
    PtySize,
    SandboxException,
)
from support.fake_server import FakeServer, end_error, reply, silence, stream
from support.messages import STARTED, output, program

PROCESS = "/process.Process/"
START = "process.Process/Start"


async def test_run_says_what_to_run_and_how(server: FakeServer) -> None:
    server.on_rpc(START, program())
    sandbox = await AsyncSandbox.create(**server.opts)
    await sandbox.commands.run("echo $A", envs={"A": "1"}, user="root", cwd="/tmp", timeout=7)
    request = server.last(PROCESS + "Start")
    assert request.json == {
        "process": {"cmd": "/bin/bash", "args": ["-l", "-c", "echo $A"], "envs": {"A": "1"}, "cwd": "/tmp"},
        "stdin": False,
    }
    assert request.headers["authorization"] == "Basic cm9vdDo="
    assert request.headers["connect-timeout-ms"] == "7000"
    assert request.headers["keepalive-ping-interval"] == "50"
    assert request.headers["content-type"] == "application/connect+json"
    await sandbox.commands.run("true", stdin=True, timeout=0)
    request = server.last(PROCESS + "Start")
    assert request.json["stdin"] is True
    assert "connect-timeout-ms" not in request.headers
    assert "authorization" not in request.headers


async def test_output_is_decoded_across_its_pieces(server: FakeServer) -> None:
    heart = "❤".encode()
    pieces = [
        output(stdout=b"a" + heart[:1]),
        output(stderr=b"\xff"),
        output(stdout=heart[1:]),
        output(stdout=heart[:2]),
    ]
    server.on_rpc(START, program(*pieces))
    sandbox = await AsyncSandbox.create(**server.opts)
    heard: list[tuple[str, str]] = []
    result = await sandbox.commands.run(
        "x", on_stdout=lambda text: heard.append(("out", text)), on_stderr=lambda text: heard.append(("err", text))
    )
    assert result == CommandResult(stdout="a❤\ufffd", stderr="\ufffd", exit_code=0, error=None)
    assert heard == [("out", "a"), ("err", "\ufffd"), ("out", "❤"), ("out", "\ufffd")]


async def test_a_command_that_fails(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"out", stderr=b"err"), code=3))
    sandbox = await AsyncSandbox.create(**server.opts)
    with pytest.raises(CommandExitException) as caught:
        await sandbox.commands.run("exit 3")
    error = caught.value
    assert (error.exit_code, error.error, error.stdout, error.stderr) == (3, "exit status 3", "out", "err")
    assert str(error) == "Command exited with code 3 and error:\nerr"
    assert isinstance(error, SandboxException)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.exit_code, copy.stdout) == (3, "out")
    assert hash(error)


async def test_output_need_not_be_kept(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"much")), program(output(stdout=b"much"), code=1))
    sandbox = await AsyncSandbox.create(**server.opts)
    heard: list[str] = []
    result = await sandbox.commands.run("x", on_stdout=heard.append, retain_output=False)
    assert (result.stdout, result.stderr, heard) == (None, None, ["much"])
    with pytest.raises(CommandExitException, match=r"^Command exited with code 1$"):
        await sandbox.commands.run("x", retain_output=False)


async def test_what_a_callback_raises_comes_out_of_run(server: FakeServer) -> None:
    def fail(text: str) -> None:
        raise KeyError(text)

    server.on_rpc(START, program(output(stdout=b"word")))
    sandbox = await AsyncSandbox.create(**server.opts)
    with pytest.raises(KeyError, match="word"):
        await sandbox.commands.run("x", on_stdout=fail)
    assert await sandbox.is_running()


async def test_a_stream_read_to_its_end_keeps_its_connection(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"x")))
    sandbox = await AsyncSandbox.create(**server.opts)
    for _ in range(3):
        await sandbox.commands.run("x")
    assert server.connections == 1


async def test_background(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"out"), output(stderr=b"err"), code=2))
    server.on_rpc("process.Process/Connect", program(output(stdout=b"more")))
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.commands.run("x", background=True)
    assert handle.pid == 5
    with pytest.raises(CommandExitException):
        await handle.wait()
    assert (handle.stdout, handle.stderr, handle.exit_code, handle.error) == ("out", "err", 2, "exit status 2")
    again = await sandbox.commands.connect(5, timeout=9)
    assert (await again.wait()).stdout == "more"
    assert (await again.wait()).stdout == "more"
    request = server.last(PROCESS + "Connect")
    assert request.json == {"process": {"pid": 5}}
    assert request.headers["connect-timeout-ms"] == "9000"


async def test_iteration_gives_the_output_in_order(server: FakeServer) -> None:
    server.on_rpc(START, program(output(stdout=b"1"), output(stderr=b"2"), output(stdout=b"3")))
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.commands.run("x", background=True)
    assert [each async for each in handle] == [("1", None, None), (None, "2", None), ("3", None, None)]
    assert (await handle.wait()).exit_code == 0


async def test_connecting_to_nothing(server: FakeServer) -> None:
    server.on_rpc("process.Process/Connect", stream(end_error("not_found", "process with pid 9 not found")))
    sandbox = await AsyncSandbox.create(**server.opts)
    with pytest.raises(NotFoundException, match="pid 9"):
        await sandbox.commands.connect(9)


async def test_talking_to_a_command(server: FakeServer) -> None:
    for method in ("SendInput", "CloseStdin", "SendSignal"):
        server.on_rpc(f"process.Process/{method}", reply(200, {}))
    server.on_rpc(START, program())
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.commands.run("cat", background=True, stdin=True)
    await handle.send_stdin("ä")
    assert server.last(PROCESS + "SendInput").json == {"process": {"pid": 5}, "input": {"stdin": "w6Q="}}
    await sandbox.commands.send_stdin(5, b"\xff")
    assert server.last(PROCESS + "SendInput").json["input"] == {"stdin": "/w=="}
    await handle.close_stdin()
    assert server.last(PROCESS + "CloseStdin").json == {"process": {"pid": 5}}
    assert await handle.kill()
    assert server.last(PROCESS + "SendSignal").json == {"process": {"pid": 5}, "signal": "SIGNAL_SIGKILL"}
    server.on_rpc("process.Process/SendSignal", reply(404, {"code": "not_found", "message": "gone"}))
    assert await sandbox.commands.kill(5) is False
    assert await sandbox.pty.kill(5) is False


async def test_list(server: FakeServer) -> None:
    config = {"cmd": "/bin/bash", "args": ["-l"], "envs": {"A": "1"}, "cwd": "/"}
    server.on_rpc(
        "process.Process/List", reply(200, {"processes": [{"pid": 1, "tag": "t", "config": config}, {"pid": 2}]})
    )
    sandbox = await AsyncSandbox.create(**server.opts)
    assert await sandbox.commands.list(request_timeout=2) == [
        ProcessInfo(1, "t", "/bin/bash", ["-l"], {"A": "1"}, "/"),
        ProcessInfo(2, None, "", [], {}, None),
    ]
    request = server.last(PROCESS + "List")
    assert request.headers["connect-timeout-ms"] == "2000"
    assert request.headers["content-type"] == "application/json"


async def test_a_terminals_handle(server: FakeServer) -> None:
    server.on_rpc("process.Process/Update", reply(200, {})).on_rpc("process.Process/SendInput", reply(200, {}))
    server.on_rpc("process.Process/Connect", program())
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.pty.connect(
        5,
        lambda _: None,  # async only
    )
    await handle.send_stdin(b"\x03")
    assert server.last(PROCESS + "SendInput").json["input"] == {"pty": "Aw=="}
    with pytest.raises(InvalidArgumentException, match="Ctrl-D"):
        await handle.close_stdin()
    await sandbox.pty.resize(5, PtySize(rows=3, cols=4))
    assert server.last(PROCESS + "Update").json == {"process": {"pid": 5}, "pty": {"size": {"rows": 3, "cols": 4}}}
    assert (await handle.wait()).exit_code == 0


async def test_a_handle_that_was_disconnected(server: FakeServer) -> None:
    server.on_rpc(START, stream(STARTED, then=silence()))
    sandbox = await AsyncSandbox.create(**server.opts)
    handle = await sandbox.commands.run("x", background=True)
    await handle.disconnect()
    with pytest.raises(SandboxException, match="connect"):
        await handle.wait()
