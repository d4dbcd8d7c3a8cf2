"""Versions of the agent, and since which one it can do what."""

from __future__ import annotations

import re

from .exceptions import TemplateException

EnvdVersion = tuple[int, ...]

ANY: EnvdVersion = (99, 99, 99)
"""Assumed in debug mode, where no API tells the version."""

OLDEST: EnvdVersion = (0, 1, 0)
RECURSIVE_WATCH: EnvdVersion = (0, 1, 4)
METRICS: EnvdVersion = (0, 1, 5)
STDIN_CHOICE: EnvdVersion = (0, 3, 0)
DEFAULT_USER: EnvdVersion = (0, 4, 0)
CLOSE_STDIN: EnvdVersion = (0, 5, 2)
RAW_UPLOAD: EnvdVersion = (0, 5, 7)
FILE_METADATA: EnvdVersion = (0, 6, 2)
WATCH_ENTRY: EnvdVersion = (0, 6, 3)
WATCH_NETWORK_MOUNTS: EnvdVersion = (0, 6, 4)


def parse_version(text: object) -> EnvdVersion:
    """Return the numbers of `0.6.13`; what does not start with a number counts as very old."""
    found = re.match(r"\d+(\.\d+)*", str(text))
    return tuple(int(part) for part in found[0].split(".")) if found else (0,)


def require(version: EnvdVersion, needed: EnvdVersion, what: str) -> None:
    """Raise TemplateException when the sandbox's agent is older than `what` needs."""
    if version < needed:
        have, want = (".".join(map(str, each)) for each in (version, needed))
        raise TemplateException(f"{what} needs agent version {want}, the sandbox has {have}: build its template again")
