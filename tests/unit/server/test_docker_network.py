"""The network of the sandboxes goes although the engine believes that somebody is on it."""

from __future__ import annotations

from typing import Any

from docker.errors import APIError, NotFound

from sandlot_server.runtime.docker_network import DockerNetwork

NETWORK = {"Id": "n1", "Name": "sandlot-abc"}


class Engine:
    """Docker with one network: on a real engine, what a container left that is gone cannot be made at will."""

    def __init__(self, attached: list[str], containers: list[str]) -> None:
        self.attached = attached
        self.containers = containers
        self.networks_left = [NETWORK]

    def networks(self, names: list[str]) -> list[dict[str, str]]:
        assert names == ["^sandlot-abc$"]
        return list(self.networks_left)

    def inspect_network(self, name: str) -> dict[str, Any]:
        if not self.networks_left:
            raise NotFound("network not found")
        return {**NETWORK, "Containers": {f"ep-{name}": {"Name": name} for name in self.attached}}

    def inspect_container(self, name: str) -> dict[str, str]:
        if name not in self.containers:
            raise NotFound("No such container")
        return {"Id": name}

    def disconnect_container_from_network(self, name: str, network: str, *, force: bool) -> None:
        assert force, "without it Docker looks for the container"
        self.attached.remove(name)

    def remove_network(self, network: str) -> None:
        if self.attached:
            raise APIError("conflict", explanation=f"error while removing network: {network} has active endpoints")
        self.networks_left.clear()

    def create_container_from_config(self, config: dict[str, Any]) -> dict[str, str]:
        return {"Id": str(config["Entrypoint"])}

    def start(self, tool: str) -> None:
        """The firewall's tool, whose rules are not what this is about."""

    def wait(self, tool: str) -> dict[str, int]:
        return {"StatusCode": 0}

    def logs(self, tool: str, *, stdout: bool, stderr: bool) -> bytes:
        return b""

    def remove_container(self, tool: str, *, v: bool, force: bool) -> None:
        """It leaves nothing here."""


def make_network(engine: Engine) -> DockerNetwork:
    return DockerNetwork(lambda: engine, "abc", "image")


def test_what_a_container_left_that_is_gone_is_taken_off() -> None:
    engine = Engine(attached=["gone"], containers=[])
    network = make_network(engine)
    assert not network.remove()
    assert network.remove()
    assert engine.networks_left == []


def test_a_container_that_somebody_joined_to_it_stays_on_it_and_is_named() -> None:
    engine = Engine(attached=["theirs"], containers=["theirs"])
    network = make_network(engine)
    assert not network.remove()
    assert not network.remove()
    assert network.list_attached() == ["theirs"]


def test_nobody_is_on_a_network_that_is_gone() -> None:
    engine = Engine(attached=[], containers=[])
    network = make_network(engine)
    assert network.remove()
    assert network.list_attached() == []
