"""When a server has nothing left to do, so that what is measured next is not what came before."""

from __future__ import annotations

import socket
import subprocess

from crash.chaos import list_containers
from crash.ledger import Ledger

from sandlot_protocol.http import ENVD_PORT
from sandlot_server.settings import Settings
from support.live import LiveServer, wait_until

DEADLINE_S = 120
ADDRESS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"


def wait_until_idle(server: LiveServer) -> int:
    """Return the size of the pool once no sandbox is left and the pool is full and listens; raises AssertionError."""
    size = int(server.settings.get("SANDLOT_POOL_SIZE", Settings.model_fields["pool_size"].default))
    ledger = Ledger(server.home / "sandlot.db")
    wait_until(lambda: ledger.count_rows() == 0, "rows of killed sandboxes are gone", DEADLINE_S)
    wait_until(lambda: _count_listening(server.installation) == size, "only the pool is left", DEADLINE_S)
    return size


def _count_listening(installation: str) -> int | None:
    """How many containers there are; None as long as an agent does not listen yet."""
    names = list_containers(installation, every=True)
    return len(names) if all(map(_listens, names)) else None


def _listens(container: str) -> bool:
    command = ["docker", "inspect", "--format", ADDRESS, container]
    address = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
    if not address:
        return False
    try:
        socket.create_connection((address, ENVD_PORT), 1).close()
    except OSError:
        return False
    return True
