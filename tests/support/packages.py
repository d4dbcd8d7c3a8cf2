"""Programs that tests need and a new machine lacks, from Debian's packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.commands import run


def require(**packages: str) -> None:
    """Install the packages whose programs are missing; skips the test where that cannot be done.

    Each is named by its program, with `_` for `-`.
    """
    if missing := install(**packages):
        pytest.skip(f"needs {', '.join(missing)}, and only root on Debian or Ubuntu can install it here")


def install(**packages: str) -> list[str]:
    """Install the packages whose programs are missing, and return those that cannot be; named as for `require`."""
    missing = [package for program, package in packages.items() if shutil.which(program.replace("_", "-")) is None]
    if not missing or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return missing
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
        run(["apt-get", *command], Path("/"), environment)
    return []
