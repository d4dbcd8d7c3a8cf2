"""How much containers have written, and how much the disk below them has left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from docker.errors import NotFound

COUNT_S = 60
"""How long counting may take; what is not counted by then is left out."""
LOCAL_URL = "http+docker://"
"""How the SDK calls an engine behind a Unix socket: one that is on this machine."""


class DiskMeter:
    """Measures the disk of an engine; every method blocks."""

    def __init__(self, find_client: Callable[[], Any]) -> None:
        self._find_client = find_client
        self._root: str | None = None

    def measure(self, names: Sequence[str]) -> dict[str, int]:
        """Return the bytes that these containers have written; those that are gone are left out."""
        uppers = {name: upper for name in names if (upper := self._find_upper(name)) is not None}
        if all(os.access(upper, os.R_OK | os.X_OK) for upper in uppers.values()):
            counted = count_folders(uppers.values())
            return {name: counted[upper] for name, upper in uppers.items() if upper in counted}
        return self.measure_by_engine(list(uppers))

    def measure_by_engine(self, names: Sequence[str]) -> dict[str, int]:
        """Let the engine count, for whom a hole in a file is as large as what could be written there."""
        if not names:
            return {}
        found = self._find_client().containers(all=True, size=True, filters={"name": list(names)})
        return {str(one["Names"][0]).removeprefix("/"): int(one.get("SizeRw", 0)) for one in found}

    def read_free(self) -> int | None:
        """Return the bytes free for the engine; None when its folder cannot be seen from here."""
        found = self.read_filesystem()
        return None if found is None else found.f_bavail * found.f_frsize

    def read_filesystem(self) -> os.statvfs_result | None:
        """Return how full the engine's disk is; None when its folder cannot be seen from here."""
        client = self._find_client()
        if not client.base_url.startswith(LOCAL_URL):
            return None
        self._root = self._root or str(client.info()["DockerRootDir"])
        try:
            return os.statvfs(self._root)
        except OSError:
            return None

    def _find_upper(self, name: str) -> str | None:
        """The folder of a container's changes, "" where the engine keeps them in another way; None when it is gone."""
        try:
            found = self._find_client().inspect_container(name)
        except NotFound:
            return None
        return str((found.get("GraphDriver", {}).get("Data") or {}).get("UpperDir", ""))


def count_folders(folders: Iterable[str], *, holes: bool = False, within_s: float = COUNT_S) -> dict[str, int]:
    """Return the bytes of disk that each folder takes up; a file with several names counts once, a hole only if asked.

    `du` does it, in a process of its own and faster than Python could.
    """
    wanted = list(folders)
    if not wanted:
        return {}
    command = ["du", "-sx", "--block-size=1", "--null", *(["--apparent-size"] if holes else []), "--", *wanted]
    try:
        told = subprocess.run(command, capture_output=True, timeout=within_s, check=False).stdout
    except subprocess.TimeoutExpired as late:
        told = late.stdout or b""
    # Files that vanish while they are counted make du complain, and count as nothing.
    lines = (line.split(b"\t", 1) for line in told.split(b"\0")[:-1])
    return {os.fsdecode(folder): int(size) for size, folder in lines}
