"""What the Docker engine holds of one installation."""

from __future__ import annotations

import subprocess
from typing import Any

import docker


def connect() -> docker.DockerClient:
    """Return a client of the engine that the tests use."""
    return docker.from_env()


def list_containers(client: docker.DockerClient, installation: str) -> list[Any]:
    """All containers of the installation, running or not."""
    return list(
        client.containers.list(
            all=True, ignore_removed=True, filters={"label": f"dev.sandlot.installation={installation}"}
        )
    )


def find_leftovers(client: docker.DockerClient, installation: str) -> list[str]:
    """Names of everything that carries the installation's id: containers, networks, firewall tables, links."""
    left = [f"container {one.name}" for one in list_containers(client, installation)]
    left += [f"network {one.name}" for one in client.networks.list() if installation in (one.name or "")]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    left += [f"firewall {line}" for line in tables.splitlines() if installation in line]
    return left
