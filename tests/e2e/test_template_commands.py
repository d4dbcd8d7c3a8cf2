"""Templates from the command line: build one from a folder, list it, use it, remove it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from support.live import SANDLOT, LiveServer

DOCKERFILE = """
FROM e2bdev/base
COPY . /srv/app
RUN chmod +x /srv/app/run.sh
WORKDIR /srv/app
USER user
CMD ["python3", "-m", "http.server", "8000"]
"""

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]


def sandlot(server: LiveServer, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SANDLOT, *arguments], env=server.environment, capture_output=True, text=True, check=False, timeout=100
    )


def list_names(server: LiveServer) -> list[list[str]]:
    return [one["names"] for one in json.loads(sandlot(server, "templates", "--json").stdout)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    (tmp_path / ".dockerignore").write_text("Dockerfile\n")
    return tmp_path


def test_build_list_use_delete(server: LiveServer, folder: Path) -> None:
    ready = ("--ready", "curl -s localhost:8000/run.sh")
    done = sandlot(server, "template", "build", folder, "--name", "web:v1", "--cpus", "1", "--memory", "512", *ready)
    assert done.returncode == 0, done.stderr
    assert "[builder 3/6] COPY . /srv/app" in done.stderr
    assert "built web:v1 in" in done.stderr
    # Templates that come with Sandlot may be listed as well, where their images are.
    before = list_names(server)
    assert ["sandlot/web"] in before
    sandbox = sandlot(server, "create", "web:v1").stdout.strip()
    shown = sandlot(server, "exec", sandbox, "--", "sh", "-c", "./run.sh; curl -s localhost:8000/run.sh")
    assert shown.stdout.splitlines() == ["it runs", "#!/bin/sh", "echo it runs"]
    refused = sandlot(server, "template", "delete", "web")
    assert (refused.returncode, "running sandboxes" in refused.stderr) == (1, True)
    sandlot(server, "kill", sandbox)
    deadline = time.monotonic() + 20
    while sandlot(server, "template", "delete", "web").returncode != 0:
        assert time.monotonic() < deadline
    assert list_names(server) == [names for names in before if names != ["sandlot/web"]]


def test_what_fails_is_told_with_its_step(server: LiveServer, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM e2bdev/base\nRUN echo so far && exit 3\n")
    done = sandlot(server, "template", "build", folder, "--name", "fails")
    assert done.returncode == 1
    assert "[stdout]: so far" in done.stderr
    assert "sandlot: step 3: failed to run command 'echo so far && exit 3': exit status 3" in done.stderr
    (folder / "Dockerfile").write_text("FROM e2bdev/base\nHEALTHCHECK NONE\n")
    done = sandlot(server, "template", "build", folder, "--name", "fails")
    assert (done.returncode, done.stderr) == (1, "sandlot: line 2: HEALTHCHECK is not supported\n")
