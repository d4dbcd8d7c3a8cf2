"""compose.yaml with Debian's docker-compose, as its first lines say: the server in a container, and nothing left."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2b import Sandbox

from support.live import find_free_port, wait_until
from support.packages import require

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


class Project:
    """One project of docker-compose."""

    def __init__(self) -> None:
        self.name = f"sandlot-test-{uuid.uuid4().hex[:8]}"
        self.port = find_free_port()
        base = subprocess.run(["docker/build.sh", "server"], cwd=ROOT, capture_output=True, text=True, check=True)
        ports = {"SANDLOT_PORT": str(self.port), "SANDLOT_TLS_PORT": str(find_free_port())}
        self.environment = {**os.environ, **dict([base.stdout.strip().split("=", 1)]), **ports}

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of docker-compose."""
        command = ["docker-compose", "--project-name", self.name, *words]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=200
        )

    def ask(self, *words: str) -> str:
        """The same for a command that must succeed; returns what it prints."""
        done = self.call(*words)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    @property
    def options(self) -> dict[str, str]:
        """What points an official SDK at the server."""
        lines = (
            line.removeprefix("export ") for line in self.ask("exec", "-T", "server", "sandlot", "env").split("\n")
        )
        found = dict(line.split("=", 1) for line in lines if line.startswith("E2B_"))
        return {
            "api_url": found["E2B_API_URL"],
            "sandbox_url": found["E2B_SANDBOX_URL"],
            "api_key": found["E2B_API_KEY"],
        }


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    require(docker_compose="docker-compose")
    project = Project()
    try:
        project.ask("up", "--build", "--detach")
        wait_until(lambda: project.call("exec", "-T", "server", "sandlot", "status").returncode == 0, "it answers", 60)
        yield project
    finally:
        project.call("stop")
        removed = project.ask("run", "--rm", "server", "down", "--all")
        project.ask("down", "--volumes")
    assert removed == ""


def test_a_sandbox_works_and_its_network_is_kept(project: Project) -> None:
    with Sandbox.create(network={"deny_out": ["0.0.0.0/0"]}, **project.options) as sandbox:
        sandbox.files.write("note", "kept")
        assert sandbox.commands.run("getent hosts example.com || echo nobody").stdout == "nobody\n"
        sandbox.pause()
        assert Sandbox.connect(sandbox.sandbox_id, **project.options).files.read("note") == "kept"


def test_the_server_does_not_end_the_container_it_runs_in(project: Project) -> None:
    done = project.call("exec", "-T", "server", "sandlot", "down", "--all")
    assert (done.returncode, "docker compose stop" in done.stderr) == (1, True)
    assert project.call("exec", "-T", "server", "sandlot", "status").returncode == 0
