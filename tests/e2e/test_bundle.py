"""A bundle brings templates, agent and server to a machine that has an engine and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.bundle import NAME, sandlot
from support.live import LiveServer

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dockerd"), reason="starts an engine: as root, where one is")
def test_a_site_without_a_network(bundle: Path, tmp_path: Path) -> None:
    scenario = (ROOT / "tests/e2e/engine/from_bundle.sh").read_text()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SANDLOT_", "E2B_"))}
    environment = {**kept, "BUNDLE": str(bundle), "HOME_FOLDER": str(tmp_path), "TEMPLATE": NAME}
    command = ["tests/e2e/engine/own_engine.sh", scenario]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=350)
    assert done.returncode == 0, done.stderr
    told = ["base: ['works']", f"{NAME}: ['content', 'content']", "httpbin: ['teapot']"]
    assert done.stdout.splitlines() == ["images before: 0", *told, "containers after: 0"]


def test_loading_where_everything_is_changes_nothing(server: LiveServer, bundle: Path) -> None:
    assert sandlot(server, "bundle", "load", bundle).returncode == 0
    before = server.call("GET", f"/templates/{NAME}")
    done = sandlot(server, "bundle", "load", bundle)
    assert done.returncode == 0, done.stderr
    status, shown = server.call("GET", f"/templates/{NAME}")
    assert (status, shown) == before


def test_a_damaged_bundle_is_refused_before_anything_happens(server: LiveServer, bundle: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tar"
    shutil.copyfile(bundle, damaged)
    with damaged.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"\xff" * 16)
    done = sandlot(server, "bundle", "load", damaged)
    assert (done.returncode, done.stderr.count("is damaged: agent.tar")) == (1, 1)
    with damaged.open("r+b") as file:
        file.truncate(10 << 20)
    done = sandlot(server, "bundle", "load", damaged)
    assert (done.returncode, done.stderr.count("was cut off")) == (1, 1)


def test_mistakes_are_named_and_leave_no_file(server: LiveServer, tmp_path: Path) -> None:
    done = sandlot(server, "bundle", "save", tmp_path / "x.tar", "no-such-template", "--no-packages")
    assert (done.returncode, "no-such-template" in done.stderr) == (1, True)
    done = sandlot(server, "bundle", "load", tmp_path / "x.tar")
    assert (done.returncode, "No such file" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []
