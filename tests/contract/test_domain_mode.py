"""The official SDKs in domain mode: https, a local authority, and a host name for each sandbox."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from e2b import Sandbox

from support.commands import run
from support.live import SANDLOT, LiveServer

pytestmark = [pytest.mark.docker, pytest.mark.timeout(200)]

PROGRAM = """
from e2b import Sandbox
with Sandbox.create(timeout=60) as sandbox:
    assert sandbox.commands.run("echo over tls").stdout == "over tls\\n"
    sandbox.files.write("a", b"x" * 3_000_000)
    assert len(sandbox.files.read("a", format="bytes")) == 3_000_000
    print(sandbox.get_host(3000), sandbox.sandbox_id)
"""

JS_PROGRAM = """
import { Sandbox } from 'e2b'
const sandbox = await Sandbox.create({ timeoutMs: 60_000 })
console.log((await sandbox.commands.run('echo over tls')).stdout.trim())
await sandbox.kill()
"""


def test_python(server: LiveServer) -> None:
    environment = server.read_domain_environment()
    assert "E2B_API_URL" not in environment
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    host, sandbox_id = done.stdout.split()
    assert host == f"3000-{sandbox_id}.e2b.localhost:{server.tls_port}"


def resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


@pytest.mark.skipif(not resolves("3000-x.e2b.localhost"), reason="Node needs libnss-myhostname to resolve *.localhost")
def test_javascript(server: LiveServer, js_dir: Path) -> None:
    environment = {**server.read_domain_environment(), "NODE_NO_WARNINGS": "1"}
    run(["node", "--input-type=module", "-e", JS_PROGRAM], js_dir, environment)


def test_a_web_server_inside_is_reached_by_its_name(server: LiveServer) -> None:
    authority = server.home / "tls/e2b.localhost/ca.pem"
    with Sandbox.create(timeout=100, **server.options) as sandbox:
        sandbox.files.write("site/index.html", "hello by name")
        # On loopback alone: the front door reaches it through the agent.
        sandbox.commands.run("python3 -m http.server 8001 --bind 127.0.0.1 --directory site", background=True)
        host = f"8001-{sandbox.sandbox_id}.e2b.localhost"
        deadline = time.monotonic() + 20
        while (answer := fetch(server.tls_port, host, authority))[0] == 502:
            assert time.monotonic() < deadline, answer
        assert answer == (200, b"hello by name")
    status, body = fetch(server.tls_port, host, authority)
    assert status == 502
    assert b"was not found" in body


def fetch(port: int, host: str, authority: Path) -> tuple[int, bytes]:
    """GET / of a name that need not resolve here; the certificate has to be good for it."""
    context = ssl.create_default_context(cafile=str(authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        connection = http.client.HTTPConnection(host)
        connection.sock = secure
        connection.request("GET", "/", headers={"Host": f"{host}:{port}"})
        response = connection.getresponse()
        return response.status, response.read()


def test_the_keys_are_ours_alone(server: LiveServer) -> None:
    folder = server.home / "tls/e2b.localhost"
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert {os.stat(folder / name).st_mode & 0o777 for name in ("ca.key", "leaf.pem")} == {0o600}


def test_trust_names_the_authority(server: LiveServer) -> None:
    shown = subprocess.run([SANDLOT, "trust"], env=server.environment, capture_output=True, text=True, check=True)
    assert str(server.home / "tls/e2b.localhost/ca.pem") in shown.stdout
