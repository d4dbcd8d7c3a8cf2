"""Sandboxes that use up their memory or their disk, and a host without disk: said aloud, and nobody else suffers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import docker
import pytest
from e2b import CommandExitException, RateLimitException, Sandbox

from support import engine
from support.live import LiveServer, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]

EATER = "python3 -c 'x = bytearray(400 << 20)'"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, client: docker.DockerClient) -> Iterator[LiveServer]:
    """A server of small sandboxes."""
    limits = {"SANDLOT_MEMORY_MB": "128", "SANDLOT_DISK_MB": "64", "SANDLOT_POOL_SIZE": "0"}
    live = LiveServer(tmp_path_factory.mktemp("sandlot"), **limits)
    try:
        live.start()
        yield live
    finally:
        installation = live.installation
        live.remove()
    assert engine.find_leftovers(client, installation) == []


def read_events(server: LiveServer, sandbox: Sandbox, event: str) -> list[Any]:
    status, body = server.call("GET", f"/v2/sandboxes/{sandbox.sandbox_id}/logs?direction=forward")
    assert status == 200
    assert isinstance(body, dict)
    return [one for one in body["logs"] if one["fields"].get("event") == event]


def test_out_of_memory(server: LiveServer, sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException):
        sandbox.commands.run(EATER)
    wait_until(lambda: read_events(server, sandbox, "out_of_memory") != [], "it is told")
    assert "128 MiB" in read_events(server, sandbox, "out_of_memory")[0]["message"]
    assert sandbox.commands.run("echo well").stdout == "well\n"


def test_above_the_disk_limit(server: LiveServer, sandbox: Sandbox) -> None:
    status, info = server.call("GET", f"/sandboxes/{sandbox.sandbox_id}")
    assert (status, info["diskSizeMB"]) == (200, 64)  # type: ignore[index]
    sandbox.commands.run("truncate -s 1G hole && dd if=/dev/urandom of=kept bs=1M count=1 && sync")
    writer = "while :; do dd if=/dev/urandom of=more bs=1M count=20 oflag=append conv=notrunc; sleep 0.3; done"
    writing = sandbox.commands.run(writer, background=True)
    wait_until(lambda: read_events(server, sandbox, "disk_full") != [], "it is told")
    assert sandbox.get_info().state.value == "paused"
    [told] = read_events(server, sandbox, "disk_full")
    assert int(told["fields"]["used_mb"]) > 64
    assert (told["level"], told["fields"]["limit_mb"], told["fields"]["action"]) == ("warn", "64", "pause")

    again = Sandbox.connect(sandbox.sandbox_id, timeout=120, **server.options)
    assert again.commands.kill(writing.pid)
    again.commands.run("rm more")
    assert again.commands.run("stat -c %s kept hole").stdout == f"{1 << 20}\n{1 << 30}\n"
    wait_until(
        lambda: 0 < Sandbox.get_metrics(sandbox.sandbox_id, **server.options)[-1].disk_total <= 64 << 20,
        "its metrics are of its own disk",
    )


def test_a_host_without_disk(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> None:
    full = LiveServer(tmp_path_factory.mktemp("full"), SANDLOT_MIN_FREE_DISK_MB=str(10**9), SANDLOT_POOL_SIZE="0")
    try:
        full.start()
        wait_until(lambda: "nothing new is started" in full.read_log(), "the log says it")
        with pytest.raises(RateLimitException, match="the engine's disk has only"):
            Sandbox.create(**full.options)
        wait_until(lambda: engine.list_containers(client, full.installation) == [], "nothing was started")
    finally:
        full.remove()
