"""docker/engine.sh and docker/build.sh: found what is there, said what was done, safe to run at any time."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=250)
    return process.returncode, out, err


def test_an_engine_that_answers_is_left_alone() -> None:
    assert finish(start("docker/engine.sh")) == (0, "", "")


def test_an_engine_elsewhere_is_handed_on() -> None:
    host = "unix:///run/docker.sock"  # the same one under its other name
    assert finish(start("docker/engine.sh", DOCKER_HOST=host)) == (0, f"DOCKER_HOST={host}\n", "")


def test_a_docker_host_that_does_not_answer_is_named() -> None:
    code, out, err = finish(start("docker/engine.sh", DOCKER_HOST="unix:///no/such.sock"))
    assert (code, out) == (1, "")
    assert "unix:///no/such.sock" in err


def test_looking_alone_never_fails() -> None:
    assert finish(start("docker/engine.sh", "--find", DOCKER_HOST="unix:///no/such.sock")) == (0, "", "")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dockerd"), reason="starts an engine: as root, where one is")
def test_a_killed_engine_is_started_again_whatever_it_left() -> None:
    scenario = (ROOT / "tests/e2e/engine/killed.sh").read_text()
    code, out, err = finish(start("tests/e2e/engine/own_engine.sh", scenario))
    assert code == 0, err
    told = ["engines: 1", "live-restore: true", "after a kill: true", "with a configuration: true"]
    assert out.splitlines() == told
    assert err.count("starting dockerd") == 3


def test_two_builds_at_once_agree() -> None:
    first, second = start("docker/build.sh", "all"), start("docker/build.sh", "all")
    (code, out, _), (other_code, other_out, _) = finish(first), finish(second)
    assert (code, other_code) == (0, 0)
    assert out == other_out
    assert "SANDLOT_AGENT_VOLUME=sandlot-agent-" in out


def test_an_unknown_part_is_named() -> None:
    code, _, err = finish(start("docker/build.sh", "nonsense"))
    assert code == 1
    assert "nonsense" in err
