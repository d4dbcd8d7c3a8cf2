"""The agent needs nothing of the image: it runs in Debian, musl, a single static file, or nothing at all."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.agent import Agent, RpcFailed
from support.live import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

AGENT = ["/opt/sandlot/bin/python3.11", "-I", "-S", "-B", "-X", "frozen_modules=on", "-m", "sandlot_envd"]


def ask_engine(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def find_volume() -> str:
    if given := os.environ.get("SANDLOT_AGENT_VOLUME"):
        return given
    names = ask_engine("volume", "ls", "-q", "--filter", "label=dev.sandlot.agent").splitlines()
    return max(names, key=lambda name: ask_engine("volume", "inspect", "--format", "{{.CreatedAt}}", name))


@contextlib.asynccontextmanager
async def agent_in(image: str, *options: str) -> AsyncIterator[Agent]:
    """The agent as PID 1 of a container, as the server starts it, without its control token."""
    name = f"any-image-{uuid.uuid4().hex[:8]}"
    fixed = ["--rm", "--name", name, "-p", "127.0.0.1::49983", "-v", f"{find_volume()}:/opt/sandlot:ro", "-u", "0:0"]
    command = ["docker", "run", *fixed, "-e", "LD_PRELOAD=", *options, "--entrypoint", AGENT[0], image, *AGENT[1:]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: _is_running(name), f"{image} runs")
        port = int(ask_engine("port", name, "49983").rpartition(":")[2])
        pid = int(ask_engine("inspect", "--format", "{{.State.Pid}}", name))
        agent = Agent(process=process, port=port, pid=pid, home=Path("/"))
        await _wait_healthy(agent)
        yield agent
    finally:
        subprocess.run(["docker", "kill", name], capture_output=True, timeout=60)
        process.wait(60)
        assert process.stderr is not None
        process.stderr.close()


def _is_running(name: str) -> bool:
    inspect = ["docker", "inspect", "--format", "{{.State.Running}}", name]
    return subprocess.run(inspect, capture_output=True, text=True, timeout=60).stdout.strip() == "true"


async def _wait_healthy(agent: Agent) -> None:
    end = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError, EOFError, AssertionError, IndexError):
            if (await agent.request("GET", "/health")).status == 204:
                return
        assert time.monotonic() < end, "the agent never answered"


async def test_an_empty_image(images: dict[str, str]) -> None:
    async with agent_in(images["empty"]) as agent:
        await agent.request("POST", "/files?path=/made/here", b"x", {"Content-Type": "application/octet-stream"})
        entry = (await agent.call("filesystem.Filesystem/Stat", {"path": "/made/here"}))["entry"]
        assert (entry["owner"], entry["size"]) == ("0", "1")
        with pytest.raises(RpcFailed, match="/bin/bash") as failed:
            await agent.run("/bin/bash", "-l", "-c", "true")
        assert failed.value.code == "invalid_argument"


async def test_a_single_static_program(images: dict[str, str]) -> None:
    async with agent_in(images["busybox"]) as agent:
        done = await agent.run("/bin/sh", "-c", "echo said; exit 4")
        assert (done.stdout, done.end["exitCode"]) == (b"said\n", 4)
        done = await agent.run("/bin/bash", "-l", "-c", "true")
        assert done.end["exitCode"] == 127
        assert b"/bin/bash" in done.stderr


async def test_musl(images: dict[str, str]) -> None:
    options = ["-e", "LD_LIBRARY_PATH=/lib:/usr/lib", "-e", "PYTHONHOME=/usr"]
    async with agent_in(images["musl"], *options) as agent:
        done = await agent.run("/bin/said")
        assert (done.stdout, done.end["exitCode"]) == (b"said by musl\n", 0)


async def test_an_image_whose_user_is_not_root(images: dict[str, str]) -> None:
    async with agent_in(images["nonroot"]) as agent:
        await agent.request("POST", "/init", b'{"defaultUser": "user"}', {"Content-Type": "application/json"})
        done = await agent.run("/bin/bash", "-l", "-c", "id -un; pwd; sudo id -u")
        assert done.stdout.split() == [b"user", b"/home/user", b"0"]


async def test_a_hostile_environment(images: dict[str, str]) -> None:
    async with agent_in(images["hostile"]) as agent:
        done = await agent.run("/bin/bash", "-c", "echo -$LD_LIBRARY_PATH-$PYTHONHOME-; python3 -c 'print(1)'")
        assert done.end["exitCode"] == 0, done.stderr
        assert done.stdout.endswith(b"1\n")


async def test_a_read_only_root(images: dict[str, str]) -> None:
    async with agent_in("sandlot/base:latest", "--read-only") as agent:
        body = b'{"sandboxID": "i1", "templateID": "base", "defaultUser": "user"}'
        told = await agent.request("POST", "/init", body, {"Content-Type": "application/json"})
        assert told.status == 204
        done = await agent.run("/bin/bash", "-l", "-c", "echo $E2B_SANDBOX_ID")
        assert done.stdout == b"i1\n"
        refused = await agent.request("POST", "/files?path=/x", b"x", {"Content-Type": "application/octet-stream"})
        assert refused.status >= 400
        assert "Read-only" in refused.json["message"]
