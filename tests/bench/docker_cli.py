"""The references: the engine's own command line on the same image, without Sandlot."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Self

IMAGE = "sandlot/base:latest"
LIMITS = ["--memory", "1g", "--cpus", "2", "--pids-limit", "4096", "--cap-drop", "NET_RAW"]


def docker(*arguments: str) -> None:
    """Run the command line to its end; raises subprocess.CalledProcessError."""
    subprocess.run(["docker", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run_and_remove() -> None:
    """What it takes to get a container of the same image with the same limits to run something."""
    docker("run", "--rm", *LIMITS, IMAGE, "true")


class BareContainer:
    """A plain container of the base image."""

    def __init__(self) -> None:
        self.name = f"bench-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> Self:
        docker("run", "--detach", "--name", self.name, *LIMITS, IMAGE, "sleep", "3600")
        return self

    def __exit__(self, *_: object) -> None:
        docker("rm", "--force", self.name)

    def execute(self, *command: str) -> None:
        """`docker exec`."""
        docker("exec", "--user", "user", self.name, *command)

    def measure_copy(self, data: bytes, runs: int) -> tuple[float, float]:
        """Return median milliseconds of `docker cp` of that much data in and out."""
        with tempfile.TemporaryDirectory() as folder:
            here, back = Path(folder) / "data", Path(folder) / "back"
            here.write_bytes(data)
            up = [self._time("cp", str(here), f"{self.name}:/tmp/data") for _ in range(runs)]
            down = [self._time("cp", f"{self.name}:/tmp/data", str(back)) for _ in range(runs)]
        return statistics.median(up), statistics.median(down)

    def measure_pause(self, runs: int) -> tuple[float, float]:
        """Return median milliseconds of `docker pause` and `docker unpause`."""
        pairs = [(self._time("pause", self.name), self._time("unpause", self.name)) for _ in range(runs)]
        return statistics.median(p for p, _ in pairs), statistics.median(u for _, u in pairs)

    def _time(self, *arguments: str) -> float:
        began = time.perf_counter()
        docker(*arguments)
        return (time.perf_counter() - began) * 1000
