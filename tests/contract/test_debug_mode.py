"""`sandlot debug`, and the official SDKs with E2B_DEBUG=true: no API, no token, an agent on localhost."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandlot_server.debugging import LEASE_S
from support.commands import run
from support.live import SANDLOT, LiveServer, find_free_port, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(200)]

PROGRAM = """
from e2b import Sandbox
sandbox = Sandbox.create()
assert sandbox.commands.run("echo debugged").stdout == "debugged\\n"
sandbox.files.write("a", b"x" * 3_000_000)
assert len(sandbox.files.read("a", format="bytes")) == 3_000_000
assert sandbox.get_host(8000) == "localhost:8000"
sandbox.kill()
"""

JS_PROGRAM = """
import { Sandbox } from 'e2b'
const sandbox = await Sandbox.create()
const { stdout } = await sandbox.commands.run('echo debugged')
if (stdout !== 'debugged\\n') throw new Error(stdout)
await sandbox.files.write('b', 'content')
if ((await sandbox.files.read('b')) !== 'content') throw new Error('another content')
await sandbox.kill()
"""


def is_healthy(port: int, host: str = "127.0.0.1") -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 204
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def debugging(server: LiveServer, *words: str, port: int) -> Iterator[subprocess.Popen[str]]:
    wait_until(lambda: not is_healthy(port), f"port {port} is nobody else's", 60)
    process = subprocess.Popen([SANDLOT, "debug", *words], env=server.environment, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: process.poll() is not None or is_healthy(port), "the agent answers")
        assert process.poll() is None
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def count_sandboxes(server: LiveServer) -> int:
    status, listed = server.call("GET", "/sandboxes")
    assert status == 200
    assert isinstance(listed, list)
    return len(listed)


def test_both_sdks(server: LiveServer, js_dir: Path) -> None:
    before = count_sandboxes(server)
    without = {name: value for name, value in os.environ.items() if not name.startswith("E2B_")}
    environment = {**without, "E2B_DEBUG": "true", "E2B_API_KEY": "e2b_" + "0" * 40, "NODE_NO_WARNINGS": "1"}
    with debugging(server, port=49983) as process:
        assert count_sandboxes(server) == before + 1
        run([sys.executable, "-c", PROGRAM], Path("/"), environment)
        run(["node", "--input-type=module", "-e", JS_PROGRAM], js_dir, environment)
        if socket.has_ipv6:
            assert is_healthy(49983, "::1")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert out.endswith("export E2B_DEBUG=true\n")
    assert not is_healthy(49983)
    assert count_sandboxes(server) == before


def test_a_port_that_is_taken_leaves_no_sandbox(server: LiveServer) -> None:
    before = count_sandboxes(server)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [SANDLOT, "debug", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "cannot be listened on" in done.stderr
    assert count_sandboxes(server) == before


def test_the_sandbox_of_a_killed_command_ends_soon(server: LiveServer) -> None:
    port = find_free_port()
    with debugging(server, "--port", str(port), port=port) as process:
        process.kill()
        process.wait(10)
        [sandbox] = server.call("GET", "/sandboxes")[1]
        left_s = (datetime.fromisoformat(sandbox["endAt"]) - datetime.now(UTC)).total_seconds()
        assert 0 < left_s <= LEASE_S
        server.call("DELETE", f"/sandboxes/{sandbox['sandboxID']}")
