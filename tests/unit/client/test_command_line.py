"""The `sandlot` command beside a server that does not behave: one line that says so, and an end at Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.fake_server import KEY, Answer, FakeServer, chunk, cut, raw, reply, silence
from support.live import SANDLOT, wait_until

LOGS = "/v2/sandboxes/i1/logs"
EVENTS = "/_sandlot/events"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def environment(server: FakeServer) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("E2B_")}
    return {**kept, "E2B_API_URL": server.url, "E2B_API_KEY": KEY, "E2B_SANDBOX_URL": server.url}


@pytest.mark.parametrize(
    ("command", "path", "answer", "message"),
    [
        (["logs", "i1"], LOGS, reply(200, b"{nope"), "the answer to logs is not JSON"),
        (["logs", "i1", "--json"], LOGS, reply(200, {"odd": 1}), "logs"),
        (["logs", "i1"], LOGS, reply(500, b"oh"), "500: oh"),
        (["logs", "i1"], LOGS, cut(), "broke before the answer came"),
        (["events"], EVENTS, reply(500, b"oh"), "500: oh"),
        (["events"], EVENTS, raw(STREAM + chunk(b": hello\n\n") + b"5\r\nab", close=True), "not any more"),
        (["events"], EVENTS, raw(STREAM + chunk(b": hello\n\n") + b"0\r\n\r\n"), "has ended the stream"),
        (["events"], EVENTS, cut(), "no server answers"),
        (["templates"], "/templates", reply(200, [{"templateID": "x"}]), "templates"),
        (["ps"], "/v2/sandboxes", reply(200, b"<html>"), "not JSON"),
    ],
)
def test_a_broken_answer_is_one_line(
    server: FakeServer, environment: dict[str, str], command: list[str], path: str, answer: Answer, message: str
) -> None:
    server.on("GET", path, answer)
    done = subprocess.run([SANDLOT, *command], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sandlot: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


COMMANDS = {
    "ps": ("GET", "/v2/sandboxes"),
    "create": ("POST", "/v2/sandboxes"),
    "templates": ("GET", "/templates"),
    "logs i1": ("GET", LOGS),
    "logs -f i2": ("GET", "/v2/sandboxes/i2/logs"),
    "metrics -f i3": ("GET", "/sandboxes/i3/metrics"),
    "events": ("GET", EVENTS),
    "kill i4": ("DELETE", "/sandboxes/i4"),
    "cp i5:x .": ("POST", "/v2/sandboxes/i5/connect"),
    "sync . i6": ("POST", "/v2/sandboxes/i6/connect"),
    "exec i7 true": ("POST", "/v2/sandboxes/i7/connect"),
}


def test_nothing_hangs_at_ctrl_c(server: FakeServer, environment: dict[str, str], tmp_path: Path) -> None:
    with ExitStack() as stack:
        running = {}
        for line, (method, path) in COMMANDS.items():
            server.on(method, path, silence())
            process = subprocess.Popen([SANDLOT, *line.split()], env=environment, cwd=tmp_path, stderr=subprocess.PIPE)
            running[line] = stack.enter_context(process)
            stack.callback(process.kill)
        for line, (_, path) in COMMANDS.items():
            wait_until(lambda path=path: server.count(path) > 0, f"sandlot {line} has asked", 60)  # type: ignore[misc]
            running[line].send_signal(signal.SIGINT)
        ended = {line: (process.wait(30), process.communicate()[1]) for line, process in running.items()}
    assert ended == dict.fromkeys(COMMANDS, (130, b""))


def test_without_what_the_server_needs_the_client_has_its_commands() -> None:
    program = "import sys; sys.modules['psutil'] = None; sys.argv[0] = 'sandlot'; from sandlot.cli import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, timeout=60, env=os.environ
    )
    assert shown.returncode == 0, shown.stderr
    assert "pip install 'sandlot[server]'" in " ".join(shown.stdout.split())
    words = shown.stdout.split()
    assert ("sync" in words, "serve" in words) == (True, False)
