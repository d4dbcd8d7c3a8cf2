"""The network of an installation's sandboxes on a Docker engine, and the firewall around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from docker.errors import APIError, NotFound

from sandlot_server.errors import IsolationFailed
from sandlot_server.runtime.container_config import INSTALLATION_LABEL, make_tool_config
from sandlot_server.runtime.docker_client import run_tool
from sandlot_server.runtime.firewall import Firewall, Place

BRIDGE_OPTIONS = {"com.docker.network.bridge.enable_icc": "false"}


class DockerNetwork:
    """Makes and removes the network; every method blocks."""

    def __init__(self, find_client: Callable[[], Any], installation: str, image: str) -> None:
        self.name = f"sandlot-{installation}"
        self._find_client = find_client
        self._installation = installation
        self._image = image
        self._bridge = f"sl-{installation[:10]}"

    def ensure(self) -> Place:
        """Return where the sandboxes' network is, made where there is none; raises IsolationFailed."""
        found = self._find_client().networks(names=[f"^{self.name}$"])
        if not found:
            try:
                self._find_client().create_network(
                    self.name,
                    driver="bridge",
                    options={**BRIDGE_OPTIONS, "com.docker.network.bridge.name": self._bridge},
                    labels={INSTALLATION_LABEL: self._installation},
                    check_duplicate=True,
                )
            except APIError as error:
                raise IsolationFailed(f"no network for sandboxes could be made: {error.explanation}") from error
        addresses = self._find_client().inspect_network(self.name)["IPAM"]["Config"][0]
        return Place(self._bridge, str(addresses["Subnet"]), str(addresses["Gateway"]))

    def make_firewall(self, place: Place) -> Firewall:
        """Return the firewall, which this does not open."""
        return Firewall(self._installation, place, run_in_host=self._run_in_host)

    def _run_in_host(self, command: list[str]) -> str:
        """Run a command of the base image with the host's network and the right to change it."""
        config = make_tool_config(self._installation, self._image, command)
        return run_tool(
            self._find_client(), config, lambda why: IsolationFailed(f"{command[0]} failed in a container: {why}")
        )

    def remove(self) -> bool:
        """Remove network and firewall rules; False while a container is on the network."""
        for found in self._find_client().networks(names=[f"^{self.name}$"]):
            self.make_firewall(Place(self._bridge, "", "")).remove()
            try:
                self._find_client().remove_network(found["Id"])
            except APIError as error:
                if "active endpoints" not in str(error.explanation):
                    raise
                self._detach_forgotten(found["Id"])
                return False
        return True

    def list_attached(self) -> list[str]:
        """Return the names of the containers that are on the network, by what the engine knows."""
        try:
            attached = self._find_client().inspect_network(self.name)["Containers"] or {}
        except NotFound:
            return []
        return sorted(str(endpoint["Name"]) for endpoint in attached.values())

    def _detach_forgotten(self, network: str) -> None:
        """Take off what containers have left that are gone: the engine can forget to when they die while they start."""
        for name in self.list_attached():
            try:
                self._find_client().inspect_container(name)
            except NotFound:
                self._find_client().disconnect_container_from_network(name, network, force=True)
