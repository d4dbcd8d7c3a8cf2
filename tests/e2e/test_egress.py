"""What a sandbox reaches outside under a policy, before a pretended internet; attacks run as root in the sandbox."""

from __future__ import annotations

import os
from collections.abc import Callable

import docker
import pytest
from e2b import Sandbox

from support import engine
from support.attacks import fetch
from support.internet import ALLOWED, BELOW, DENIED, RESOLVER, Internet
from support.live import LiveServer

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make network namespaces"),
]

EVERYTHING = "0.0.0.0/0"


@pytest.fixture(scope="module")
def server_settings(internet: Internet) -> dict[str, str]:
    return {"SANDLOT_DNS_SERVERS": RESOLVER, "SANDLOT_POOL_SIZE": "2"}


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


def test_the_policy_outlasts_pauses_and_boots(create: Callable[..., Sandbox], server: LiveServer) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": ["allowed.test"]})
    for keep_memory in (True, False):
        status, _ = server.call("POST", f"/sandboxes/{sandbox.sandbox_id}/pause", {"memory": keep_memory})
        assert status == 204
        sandbox = Sandbox.connect(sandbox.sandbox_id, **server.options)
        assert_only_allowed(sandbox)


def test_a_fork_is_bound_as_its_source_is(create: Callable[..., Sandbox], server: LiveServer) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": ["allowed.test"]})
    status, forks = server.call("POST", f"/sandboxes/{sandbox.sandbox_id}/fork", {"timeout": 60})
    assert status == 201
    assert isinstance(forks, list)
    fork = Sandbox.connect(forks[0]["sandbox"]["sandboxID"], **server.options)
    try:
        assert_only_allowed(fork)
    finally:
        fork.kill()


def assert_only_allowed(sandbox: Sandbox) -> None:
    assert fetch(sandbox, "https://allowed.test/") == f"allowed.test at {ALLOWED}\n"
    assert fetch(sandbox, f"http://{DENIED}/") is None
    assert fetch(sandbox, "http://denied.test/") is None


def test_who_comes_after_is_not_bound(create: Callable[..., Sandbox]) -> None:
    create(allow_internet_access=False).kill()
    for _ in range(3):
        assert fetch(create(), f"http://{DENIED}/") is not None


def test_without_a_server_the_policy_holds(
    create: Callable[..., Sandbox], server: LiveServer, client: docker.DockerClient
) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": [BELOW, "allowed.test"]})
    sandbox.files.write("/tmp/mark", "x")
    container = next(
        one
        for one in engine.list_containers(client, server.installation)
        if one.exec_run(["test", "-e", "/tmp/mark"]).exit_code == 0
    )
    server.kill()
    try:
        for address, code in ((BELOW, 0), (DENIED, 7), (ALLOWED, 7)):
            ended = container.exec_run(["curl", "-s", "--max-time", "5", f"http://{address}/"]).exit_code
            assert ended == code, address
    finally:
        server.start()
    assert_only_allowed(Sandbox.connect(sandbox.sandbox_id, **server.options))
