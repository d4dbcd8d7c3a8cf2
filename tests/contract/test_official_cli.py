"""The official command line from npm, unmodified: sandboxes, terminals, templates."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.live import LiveServer, wait_until
from support.terminal import open_terminal

pytestmark = [pytest.mark.docker, pytest.mark.timeout(200)]


class Cli:
    """`e2b` with a folder of its own for what it remembers."""

    def __init__(self, server: LiveServer, program: Path, home: Path) -> None:
        self.program = program
        self.environment = {**server.sdk_environment, "HOME": str(home), "E2B_DISABLE_TELEMETRY": "1", "CI": "1"}

    def run(self, *words: str, folder: Path | None = None) -> str:
        done = subprocess.run(
            [self.program, *words],
            cwd=folder,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def list(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run(*words, "--format", "json"))
        return found


@pytest.fixture
def cli(server: LiveServer, js_dir: Path, tmp_path: Path) -> Cli:
    return Cli(server, js_dir / "node_modules/.bin/e2b", tmp_path)


@pytest.fixture
def sandbox(cli: Cli) -> Iterator[str]:
    cli.run("sandbox", "create", "base", "--detach", "--timeout", "120")
    (sandbox,) = [one["sandboxId"] for one in cli.list("sandbox", "list")]
    yield sandbox
    subprocess.run(
        [cli.program, "sandbox", "kill", sandbox], env={**os.environ, **cli.environment}, capture_output=True
    )


def test_a_life(cli: Cli, sandbox: str) -> None:
    assert cli.run("sandbox", "exec", sandbox, "echo", "from", "inside").strip() == "from inside"
    assert "base" in cli.run("sandbox", "info", sandbox)
    cli.run("sandbox", "pause", sandbox)
    assert [one["state"] for one in cli.list("sandbox", "list", "--state", "paused")] == ["paused"]
    cli.run("sandbox", "resume", sandbox)
    assert "created from base" in cli.run("sandbox", "logs", sandbox)
    wait_until(lambda: "CPU" in cli.run("sandbox", "metrics", sandbox), "there are metrics")
    cli.run("sandbox", "kill", sandbox)
    assert cli.list("sandbox", "list", "--state", "running,paused") == []


def test_terminals(cli: Cli, sandbox: str) -> None:
    with open_terminal(cli.environment, cli.program, "sandbox", "connect", sandbox) as terminal:
        wait_until(lambda: terminal.shows("@sandbox"), "the prompt shows")
        terminal.type("echo size $(stty size)")
        wait_until(lambda: terminal.shows("size 30 100"), "it has the terminal's size")
        terminal.type("echo be''gun; sleep 100")
        wait_until(lambda: terminal.shows("begun"), "the program runs")
        terminal.press("C-c")
        terminal.type("echo after interrupt $?")
        wait_until(lambda: terminal.shows("after interrupt 130"), "Ctrl-C goes to the program inside")
        terminal.type("exit")
        wait_until(lambda: terminal.shows("left with 0"), "it ends with the shell")
    with open_terminal(cli.environment, cli.program, "sandbox", "create", "base") as terminal:
        wait_until(lambda: terminal.shows("@sandbox"), "the new sandbox's prompt shows")
        terminal.type("exit")
        wait_until(lambda: terminal.shows("left with"), "it ends with the shell")


def test_templates(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "e2b.Dockerfile").write_text("FROM e2bdev/base\nRUN echo built > /built\n")
    cli.run("template", "create", "cli-made", folder=tmp_path)
    assert "cli-made" in [name for one in cli.list("template", "list") for name in one["aliases"]]
    cli.run("template", "publish", "-y", "cli-made")
    assert [one["public"] for one in cli.list("template", "list") if "cli-made" in one["aliases"]] == [True]
    cli.run("template", "delete", "-y", "cli-made")
    assert "cli-made" not in [name for one in cli.list("template", "list") for name in one["aliases"]]
    cli.run("template", "init", "--name", "mine", "--language", "python-sync", "--path", str(tmp_path))
    assert (tmp_path / "mine/template.py").exists()
