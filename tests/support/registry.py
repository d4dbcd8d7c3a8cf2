"""An image registry on loopback that wants a password: Debian's docker-registry, installed where it is missing."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.live import find_free_port, wait_until
from support.packages import require

PASSWORD = "open sesame"
SERVICE_ACCOUNT = '{"type":"service_account"}'
USERS = """user:$2b$04$aZE8hYp1Vz4Tij4BmgTtSedWb.tYjt9rKqzx5OnuJjPZgJZyppZ1y
_json_key:$2b$04$KMPI3gPq1dntvuz7YjgT6e1U.h2wYkCzVYcIM6ijEUTdLr4TLjBS2
"""
"""The passwords above, each under the name that it belongs to."""
CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/images}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/users}}}}
"""


@contextmanager
def run_registry(folder: Path) -> Iterator[str]:
    """Have a registry for the length of a block; yields its address."""
    require(docker_registry="docker-registry")
    port = find_free_port()
    (folder / "users").write_text(USERS)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port), "the registry listens")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
