"""The server is killed without warning; sandboxes go on, and nothing is lost or left behind."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.models.containers import Container
from e2b import Sandbox, SandboxState

from sandlot_server.runtime.forgotten import list_switches
from support import engine
from support.live import LiveServer, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, client: docker.DockerClient) -> Iterator[LiveServer]:
    """A server without a pool: every create takes all its steps, every container is somebody's."""
    live = LiveServer(tmp_path_factory.mktemp("sandlot"), SANDLOT_POOL_SIZE="0")
    try:
        live.start()
        yield live
    finally:
        installation = live.installation
        live.remove()
    assert engine.find_leftovers(client, installation) == []


def list_ids(server: LiveServer) -> list[str]:
    status, body = server.call("GET", "/v2/sandboxes")
    assert status == 200
    assert isinstance(body, list)
    return sorted(one["sandboxID"] for one in body)


def test_sandboxes_outlive_the_server(server: LiveServer) -> None:
    lasting = Sandbox.create(timeout=300, metadata={"kept": "yes"}, **server.options)
    brief = Sandbox.create(timeout=20, **server.options)
    lasting.files.write("note", "still here")
    command = lasting.commands.run("sleep 200", background=True)
    server.kill()
    server.start()

    assert list_ids(server) == sorted([lasting.sandbox_id, brief.sandbox_id])
    again = Sandbox.connect(lasting.sandbox_id, **server.options)
    assert again.files.read("note") == "still here"
    assert command.pid in [process.pid for process in again.commands.list()]
    assert again.get_info().metadata == {"kept": "yes"}
    wait_until(lambda: list_ids(server) == [lasting.sandbox_id], "the brief one has ended", 25)
    assert again.kill()
    wait_until(lambda: list_ids(server) == [], "the last one is gone")


def test_what_expires_while_the_server_is_down_is_gone_after_it(server: LiveServer) -> None:
    sandbox = Sandbox.create(timeout=2, **server.options)
    server.kill()
    time.sleep(2.5)  # the sandbox's end has to pass
    server.start()
    assert not sandbox.is_running()
    wait_until(lambda: list_ids(server) == [], "the expired sandbox is not listed")


@pytest.mark.parametrize("after_ms", [1, 20, 60, 120, 200, 300, 450, 700])
def test_killed_in_the_middle_of_a_create(server: LiveServer, client: docker.DockerClient, after_ms: int) -> None:
    def create() -> None:
        try:
            server.call("POST", "/v2/sandboxes", {"templateID": "base"}, **{"Content-Type": "application/json"})
        except OSError:
            return  # the server died before its answer

    caller = threading.Thread(target=create)
    caller.start()
    time.sleep(after_ms / 1000)
    server.kill()
    caller.join(30)
    server.start()

    # Whatever step it died in: what the engine runs is what the server lists, and all of that works.
    wait_until(
        lambda: len(engine.list_containers(client, server.installation)) == len(list_ids(server)),
        "as many containers as sandboxes",
    )
    for sandbox_id in list_ids(server):
        assert Sandbox.connect(sandbox_id, **server.options).commands.run("echo well").stdout == "well\n"
        assert Sandbox.kill(sandbox_id, **server.options)
    wait_until(lambda: engine.list_containers(client, server.installation) == [], "no container is left")


def read_losses(server: LiveServer, sandbox_id: str) -> list[str]:
    status, body = server.call("GET", f"/v2/sandboxes/{sandbox_id}/logs?direction=forward")
    assert status == 200
    assert isinstance(body, dict)
    return [one["fields"]["reason"] for one in body["logs"] if one["fields"].get("event") == "memory_lost"]


def find_container(client: docker.DockerClient, server: LiveServer, before: set[str]) -> Any:
    [found] = [one for one in engine.list_containers(client, server.installation) if one.id not in before]
    return found


def test_after_a_host_went_down_sandboxes_have_their_files(server: LiveServer, client: docker.DockerClient) -> None:
    sandboxes = [Sandbox.create(timeout=300, **server.options) for _ in range(2)]
    for sandbox in sandboxes:
        sandbox.files.write("note", sandbox.sandbox_id)
        sandbox.commands.run("sleep 200", background=True)
    before = [sandbox.files.read("/proc/sys/kernel/random/boot_id") for sandbox in sandboxes]
    sandboxes[1].pause()
    server.kill()
    for container in engine.list_containers(client, server.installation):
        container.kill()
    server.start()

    for sandbox, boot_id in zip(sandboxes, before, strict=True):
        status, info = server.call("GET", f"/sandboxes/{sandbox.sandbox_id}")
        assert (status, info["state"], info["pauseMode"]) == (200, "paused", "filesystem")  # type: ignore[index]
        assert read_losses(server, sandbox.sandbox_id) == [
            "its container ended while nobody watched: process 1 was killed"
        ]
        assert not sandbox.is_running()
        again = Sandbox.connect(sandbox.sandbox_id, **server.options)
        assert again.files.read("note") == sandbox.sandbox_id
        assert again.files.read("/proc/sys/kernel/random/boot_id") != boot_id
        assert "sleep" not in [process.cmd for process in again.commands.list()]
        assert again.kill()


def test_what_the_engine_stops_keeps_its_files(server: LiveServer, client: docker.DockerClient) -> None:
    """As an engine without live-restore does when it ends; what is killed is gone."""
    stopped = Sandbox.create(timeout=300, **server.options)
    container = find_container(client, server, set())
    killed = Sandbox.create(timeout=300, **server.options)
    other = find_container(client, server, {container.id})
    stopped.files.write("note", "kept")
    container.stop(timeout=0)
    other.kill()
    wait_until(lambda: list_ids(server) == [stopped.sandbox_id], "the killed one is gone")
    wait_until(lambda: str(stopped.get_info().state.value) == "paused", "the stopped one is paused")
    assert not killed.is_running()
    (loss,) = read_losses(server, stopped.sandbox_id)
    # The agent may have been quick enough to end by itself.
    assert loss in (
        "the engine stopped it: process 1 was killed",
        "the engine stopped it: process 1 ended with exit code 0",
    )
    assert Sandbox.connect(stopped.sandbox_id, **server.options).files.read("note") == "kept"
    assert stopped.kill()


def test_two_servers_cannot_share_a_home(server: LiveServer) -> None:
    second = LiveServer(server.home)
    with pytest.raises(AssertionError, match="a server already runs on"):
        second.start()
    assert list_ids(server) == []


def test_another_installation_is_never_touched(
    server: LiveServer, client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mine = Sandbox.create(timeout=120, **server.options)
    other = LiveServer(tmp_path_factory.mktemp("other"), SANDLOT_POOL_SIZE="1")
    other.start()
    installation = other.installation
    theirs = Sandbox.create(timeout=120, **other.options)
    try:
        assert not Sandbox.kill(theirs.sandbox_id, **server.options)
        server.kill()
        server.start()
        assert theirs.commands.run("echo well").stdout == "well\n"
    finally:
        other.remove()
    assert engine.find_leftovers(client, installation) == []
    assert mine.commands.run("echo well").stdout == "well\n"
    assert mine.kill()


def test_what_a_killed_engine_has_forgotten_is_ended(server: LiveServer, client: docker.DockerClient) -> None:
    """A container stands in for one that the engine takes for removed: of its name the engine knows nothing."""
    known = Sandbox.create(timeout=300, **server.options)
    variable = {"SANDLOT_CONTAINER": f"sandlot-{server.installation}-forgotten"}
    other = {"SANDLOT_CONTAINER": "sandlot-anothers-forgotten"}
    image = os.environ["SANDLOT_BASE_IMAGE"]
    forgotten, foreign = (
        client.containers.run(image, ["sleep", "300"], environment=environment, detach=True)
        for environment in (variable, other)
    )
    forgotten.reload()
    network = f"/proc/{forgotten.attrs['State']['Pid']}/ns/net"
    try:
        server.kill()
        # As an engine does that holds on to the network: its kernel would go on answering for the address.
        with Path(network).open() as held:
            server.start()
            wait_until(lambda: not _runs(forgotten), "the forgotten one is ended")
            show = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{held.fileno()}", "ip", "-o", "link", "show", "up"]
            assert "eth0" not in subprocess.run(show, check=True, capture_output=True, text=True).stdout
        assert _runs(foreign)
        assert Sandbox.connect(known.sandbox_id, **server.options).commands.run("echo on").stdout == "on\n"
    finally:
        for container in (forgotten, foreign):
            container.remove(force=True)


def test_what_a_killed_engine_has_frozen_is_woken(server: LiveServer, client: docker.DockerClient) -> None:
    """It was about to pause the container, and counts it as running."""
    frozen = Sandbox.create(timeout=300, **server.options)
    command = frozen.commands.run("sleep 1000", background=True)
    [container] = engine.list_containers(client, server.installation)
    paused = Sandbox.create(timeout=300, **server.options)
    paused.pause()
    for path, _ in list_switches(Path(f"/proc/{container.attrs['State']['Pid']}")):
        path.write_text("1" if path.name == "cgroup.freeze" else "FROZEN")
    server.kill()
    server.start()
    wait_until(lambda: _answers(server, frozen), "it is woken", 20)
    assert [one.pid for one in frozen.commands.list()] == [command.pid]
    assert paused.get_info().state == SandboxState.PAUSED


def _answers(server: LiveServer, sandbox: Sandbox) -> bool:
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983"}
    try:
        return httpx.get(f"{server.url}/health", headers=headers, timeout=1).status_code == 204
    except httpx.TimeoutException:
        return False


def _runs(container: Container) -> bool:
    container.reload()
    return bool(container.status == "running")
