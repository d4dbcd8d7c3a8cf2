"""A real headless Chromium: what runs in a sandbox, by its https name, and the official SDK in a page."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.live import LiveServer

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]


def test_applications_and_the_sdk(server: LiveServer, js_dir: Path, chromium: str) -> None:
    authority = server.home / "tls/e2b.localhost/ca.pem"
    own = {
        "CHROMIUM": chromium,
        "E2B_DOMAIN": f"e2b.localhost:{server.tls_port}",
        "NODE_EXTRA_CA_CERTS": str(authority),
        "NODE_NO_WARNINGS": "1",
    }
    done = subprocess.run(
        ["node", "--test", "browser.test.js"],
        cwd=js_dir,
        env={**os.environ, **server.sdk_environment, **own},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "# pass 3" in done.stdout
