"""The agent's start and its memory, over twenty of them that share one volume."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
import uuid

from sandlot_server.runtime.container_config import AGENT_COMMAND as AGENT

COUNT = 20
ASK_HEALTH = r"""
exec 3<>/dev/tcp/127.0.0.1/49983
printf 'GET /health HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n' >&3
head -1 <&3
"""


def _read(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _find_volume() -> str:
    found = os.environ.get("SANDLOT_AGENT_VOLUME")
    return found or _read("docker", "volume", "ls", "--quiet", "--filter", "label=dev.sandlot.agent").splitlines()[-1]


class IdleAgent:
    """An agent as PID 1 of a container of the base image."""

    def __init__(self) -> None:
        self.name = f"bench-agent-{uuid.uuid4().hex[:8]}"
        mount = f"{_find_volume()}:/opt/sandlot:ro"
        start = ["docker", "run", "--detach", "--name", self.name, "--volume", mount, "--user", "0:0"]
        _read(*start, "--entrypoint", AGENT[0], "sandlot/base:latest", *AGENT[1:])
        form = "{{.State.Pid}} {{.NetworkSettings.IPAddress}}"
        pid, self.address = _read("docker", "inspect", "--format", form, self.name).split()
        self.pid = int(pid)

    def wait(self) -> None:
        """Return once it is healthy."""
        while True:
            try:
                with urllib.request.urlopen(f"http://{self.address}:49983/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.002)

    def remove(self) -> None:
        """End it."""
        _read("docker", "rm", "--force", self.name)

    def measure_memory(self) -> dict[str, float]:
        """Return megabytes: proportional share, private, resident."""
        with open(f"/proc/{self.pid}/smaps_rollup") as file:
            table = dict(line.split(":") for line in file.read().splitlines()[1:])
        kb = {name: int(value.split()[0]) for name, value in table.items()}
        private = kb["Private_Clean"] + kb["Private_Dirty"]
        return {"PSS": kb["Pss"] / 1024, "private": private / 1024, "RSS": kb["Rss"] / 1024}


def measure_start(runs: int) -> list[float]:
    """Return milliseconds from exec of the agent to its first healthy answer, in containers that already run."""
    mount = f"{_find_volume()}:/opt/sandlot:ro"
    name = f"bench-start-{uuid.uuid4().hex[:8]}"
    _read("docker", "run", "--detach", "--name", name, "--volume", mount, "sandlot/base:latest", "sleep", "3600")
    try:
        pid = _read("docker", "inspect", "--format", "{{.State.Pid}}", name)
        return [_start_once(pid) for _ in range(runs)]
    finally:
        _read("docker", "rm", "--force", name)


def _start_once(pid: str) -> float:
    """Enter the container's namespaces, as the engine's own start would, and become the agent."""
    began = time.perf_counter()
    enter = ["nsenter", "--target", pid, "--mount", "--net", "--uts", "--ipc"]
    agent = subprocess.Popen([*enter, *AGENT], stdout=subprocess.PIPE)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()  # it listens
        probe = ["nsenter", "--target", pid, "--net", "bash", "-c", ASK_HEALTH]
        assert "204" in _read(*probe)
        return (time.perf_counter() - began) * 1000
    finally:
        agent.kill()
        agent.wait()
        agent.stdout.close()  # type: ignore[union-attr]


def describe_memory() -> str:
    """Return a line with the medians over twenty idle agents at once."""
    agents = [IdleAgent() for _ in range(COUNT)]
    try:
        for agent in agents:
            agent.wait()
        readings = [agent.measure_memory() for agent in agents]
    finally:
        for agent in agents:
            agent.remove()
    middle = {name: sorted(reading[name] for reading in readings)[COUNT // 2] for name in readings[0]}
    shown = ", ".join(f"{name} {value:.1f} MB" for name, value in middle.items())
    return f"idle agent, median of {COUNT} at once: {shown} (target: 15 MB private)"
