"""A bundle with the base template and one more, for tests that start with an empty engine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from e2b import Template

from support.live import SANDLOT, LiveServer

NAME = "brought"
"""The template that comes with the base one; a file server is what it starts."""
SHIPPED = "httpbin"
BUILD = Path(__file__).parents[2] / "docker/build.sh"


def sandlot(server: LiveServer, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a `sandlot` command that belongs to a server."""
    return subprocess.run(
        [SANDLOT, *arguments], env=server.environment, capture_output=True, text=True, check=False, timeout=300
    )


def save_bundle(server: LiveServer, path: Path) -> None:
    """Build the template, and save it with all that a sandbox of it needs."""
    template = (
        Template()
        .from_base_image()
        .run_cmd("echo content > ~/brought")
        .set_start_cmd("python3 -m http.server 8000", "curl -sf localhost:8000/brought")
    )
    Template.build(template, NAME, cpu_count=1, memory_mb=512, api_url=server.url, api_key=server.key)
    subprocess.run([BUILD, SHIPPED], check=True, capture_output=True, timeout=200)
    done = sandlot(server, "bundle", "save", path, NAME, SHIPPED, "--no-packages")
    assert done.returncode == 0, done.stderr
    assert [file.name for file in path.parent.iterdir()] == [path.name]
