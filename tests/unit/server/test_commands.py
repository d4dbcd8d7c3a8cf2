"""The server's own commands, as a shell runs them, beside a server over the memory runtime."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandlot_server.doctor import examine_inotify
from support.live import SANDLOT, LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("commands"), SANDLOT_RUNTIME="memory", SANDLOT_POOL_SIZE="0")
    live.start()
    yield live
    live.remove()


def run(server: LiveServer, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SANDLOT, *words], env={**server.environment, **environment}, capture_output=True, text=True, timeout=60
    )


def test_status_counts_what_the_door_did(server: LiveServer) -> None:
    shown = run(server, "status")
    assert shown.returncode == 0, shown.stderr
    assert f"{server.url} answers" in shown.stdout
    assert "front door: " in shown.stdout
    assert "0 refused" in shown.stdout


def test_status_without_the_key(server: LiveServer, tmp_path: Path) -> None:
    """Whether the server answers is for everybody on the machine."""
    shown = run(server, "status", SANDLOT_HOME=str(tmp_path))
    assert shown.returncode == 0
    assert f"{server.url} answers" in shown.stdout
    assert "there is no" in shown.stderr


def test_keys_and_teams_from_a_shell(server: LiveServer) -> None:
    missing = run(server, "keys", "add", "ci", "--team", "acme")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "sandlot teams add acme" in missing.stderr
    assert run(server, "teams", "add", "acme").returncode == 0
    again = run(server, "teams", "add", "acme")
    assert (again.returncode, again.stderr) == (1, "sandlot: team 'acme' exists already\n")
    assert [line.split()[1:] for line in run(server, "teams", "list").stdout.splitlines()] == [
        ["sandlot", "(default)"],
        ["acme"],
    ]
    key = run(server, "keys", "add", "ci", "--team", "acme").stdout.strip()
    assert server.call("GET", "/v2/sandboxes", **{"X-API-KEY": key}) == (200, [])
    listed = run(server, "keys", "list", "--team", "acme").stdout
    assert "  ci  last used: 20" in listed
    assert key not in listed
    (told,) = json.loads(run(server, "keys", "list", "--team", "acme", "--json").stdout)
    assert (told["name"], told["id"] in listed, "key" in told) == ("ci", True, False)
    named = json.loads(run(server, "teams", "list", "--json").stdout)
    assert [(team["name"], team["isDefault"]) for team in named] == [("sandlot", True), ("acme", False)]
    assert "apiKey" not in named[0]
    assert run(server, "keys", "list").stdout == ""
    assert run(server, "keys", "revoke", "ci", "--team", "acme").returncode == 0
    assert server.call("GET", "/v2/sandboxes", **{"X-API-KEY": key})[0] == 401
    assert run(server, "keys", "revoke", "ci", "--team", "acme").returncode == 1


def test_domain_exports_are_what_the_server_does_and_not_what_the_settings_say(server: LiveServer) -> None:
    shown = run(server, "env", "--domain", SANDLOT_TLS_PORT="1")
    assert f"export E2B_DOMAIN=e2b.localhost:{server.tls_port}\n" in shown.stdout


def test_domain_exports_of_a_server_whose_port_was_taken(tmp_path: Path) -> None:
    live = LiveServer(tmp_path, SANDLOT_RUNTIME="memory", SANDLOT_POOL_SIZE="0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        live.tls_port = taken.getsockname()[1]
        (tmp_path / "domain").write_text("left.behind:1\n")
        live.start()
        try:
            shown = run(live, "env", "--domain")
            assert shown.returncode == 1
            assert "domain mode is off" in shown.stderr
            assert "export" not in shown.stdout
        finally:
            live.remove()


def test_a_server_in_the_background_warns_of_low_limits(tmp_path: Path) -> None:
    live = LiveServer(tmp_path, SANDLOT_RUNTIME="memory", SANDLOT_POOL_SIZE="0", SANDLOT_TLS_PORT="-1")
    try:
        shown = run(live, "serve", "--background")
        assert shown.returncode == 0, shown.stderr
        assert ("watch files" in shown.stderr) == (examine_inotify().fix is not None)
        pid = int((tmp_path / "server.pid").read_text())
        limits = Path(f"/proc/{pid}/limits").read_text()
        files = next(line for line in limits.splitlines() if line.startswith("Max open files"))
        soft, hard = files.split()[3:5]
        assert soft == hard
        assert run(live, "env", "--domain").returncode == 1
    finally:
        run(live, "down")
    assert not (tmp_path / "domain").exists()
