"""The example project of docs/: its tests pass on a server that runs, and on one that the plugin starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.live import LiveServer

EXAMPLE = Path(__file__).parents[2] / "docs/example"

LEAKING = """
from sandlot import Sandbox

def test_leaks(sandlot_server):
    Sandbox.create(metadata=sandlot_server.metadata)
"""

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def run_pytest(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("E2B_")}
    fixed = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."]
    command = [sys.executable, "-m", "pytest", *fixed, *arguments]
    return subprocess.run(
        command, cwd=folder, env={**kept, **environment}, capture_output=True, text=True, check=False, timeout=250
    )


def test_on_a_server_that_runs(server: LiveServer) -> None:
    done = run_pytest(EXAMPLE, server.sdk_environment)
    assert "5 passed" in done.stdout, done.stdout


def test_on_a_server_that_the_plugin_starts(tmp_path: Path) -> None:
    done = run_pytest(EXAMPLE, {"SANDLOT_HOME": str(tmp_path)}, "--sandlot-scope", "module", "-k", "not own")
    assert "4 passed" in done.stdout, done.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_tests_leave_behind_fails_the_run(server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "test_leak.py").write_text(LEAKING)
    done = run_pytest(tmp_path, server.sdk_environment)
    assert "tests have left sandboxes behind (removed now): i" in done.stdout
    assert done.returncode == 1
    assert server.call("GET", "/v2/sandboxes")[1] == []


def test_a_template_that_does_not_exist_is_named(server: LiveServer) -> None:
    done = run_pytest(EXAMPLE, server.sdk_environment, "--sandlot-template", "nothing", "-k", "sums")
    assert "template 'nothing' not found" in done.stdout
