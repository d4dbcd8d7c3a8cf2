"""What a sandbox reaches outside under a policy, before a pretended internet; attacks run as root in the sandbox."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import docker
import pytest
from e2b import Sandbox
from e2b.sandbox.commands.command_handle import CommandExitException

from support import engine
from support.internet import ALLOWED, BELOW, DENIED, RESOLVER, Internet, open_internet
from support.live import LiveServer

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make network namespaces"),
]

EVERYTHING = "0.0.0.0/0"


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    with open_internet(tmp_path_factory.mktemp("internet")) as internet:
        yield internet


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, client: docker.DockerClient, internet: Internet
) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("sandlot"), SANDLOT_DNS_SERVERS=RESOLVER, SANDLOT_POOL_SIZE="2")
    try:
        live.start()
        yield live
    finally:
        installation = live.installation
        live.remove()
    assert engine.find_leftovers(client, installation) == []


def run(sandbox: Sandbox, command: str) -> str | None:
    """What the command says; None when it fails."""
    try:
        return sandbox.commands.run(command, user="root", timeout=30).stdout
    except CommandExitException:
        return None


def fetch(sandbox: Sandbox, url: str, *options: str) -> str | None:
    """A page as the sandbox gets it, whoever vouches for it; None when it gets none."""
    return run(sandbox, f"curl -sk --max-time 5 {' '.join(options)} {url}")


def test_without_a_policy_the_outside_is_open(create: Callable[..., Sandbox]) -> None:
    sandbox = create()
    assert fetch(sandbox, "http://allowed.test/") == f"allowed.test at {ALLOWED}\n"
    assert fetch(sandbox, f"https://{DENIED}/") == f"{DENIED} at {DENIED}\n"


def test_denied_addresses(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"deny_out": [DENIED, "198.51.100.11/32"]})
    assert fetch(sandbox, f"http://{DENIED}/") is None
    assert fetch(sandbox, f"https://{BELOW}/") is None
    assert fetch(sandbox, "http://allowed.test/") == f"allowed.test at {ALLOWED}\n"


def test_no_internet(create: Callable[..., Sandbox], internet: Internet) -> None:
    sandbox = create(allow_internet_access=False)
    assert fetch(sandbox, f"http://{ALLOWED}/") is None
    assert fetch(sandbox, "http://allowed.test/") is None
    assert sandbox.get_info().allow_internet_access is False


def test_what_is_allowed_beats_what_is_denied(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": [ALLOWED]})
    assert fetch(sandbox, f"https://{ALLOWED}/") == f"{ALLOWED} at {ALLOWED}\n"
    assert fetch(sandbox, f"http://{DENIED}/") is None


def test_domains(create: Callable[..., Sandbox], internet: Internet) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": ["allowed.test", "*.allowed.test"]})
    for scheme in ("http", "https"):
        assert fetch(sandbox, f"{scheme}://allowed.test/") == f"allowed.test at {ALLOWED}\n"
        assert fetch(sandbox, f"{scheme}://below.allowed.test/") == f"below.allowed.test at {BELOW}\n"
        assert fetch(sandbox, f"{scheme}://denied.test/") is None
    assert "denied.test" not in internet.asked


def test_update_holds_at_once_and_clears_what_it_leaves_out(create: Callable[..., Sandbox]) -> None:
    sandbox = create()
    sandbox.update_network({"deny_out": [DENIED]})
    assert fetch(sandbox, f"http://{DENIED}/") is None
    assert fetch(sandbox, f"http://{ALLOWED}/") is not None
    sandbox.update_network({"deny_out": [EVERYTHING], "allow_out": ["denied.test"]})
    assert fetch(sandbox, f"http://{ALLOWED}/") is None
    assert fetch(sandbox, "http://denied.test/") == f"denied.test at {DENIED}\n"
    sandbox.update_network({})
    assert fetch(sandbox, f"http://{ALLOWED}/") is not None
