"""The Sandlot of this machine, found without any settings.

A server writes into its home (`SANDLOT_HOME`, else ~/.local/share/sandlot) the developer key, readable by its
owner alone, and the URL it listens on.
"""
# ruff: noqa: PTH111, PTH118, PTH123 - pathlib would be the slowest import of a first `create`

from __future__ import annotations

import os
from typing import NamedTuple

DEFAULT_HOME = "~/.local/share/sandlot"
DEFAULT_URL = "http://127.0.0.1:3000"


class LocalServer(NamedTuple):
    """Where the server of this machine is, or would be: one may not run, or never have run."""

    home: str
    url: str
    api_key: str | None


def find_local_server() -> LocalServer:
    """Read the home's `url` and `key` afresh, so that a server started in between is found."""
    home = os.path.expanduser(os.environ.get("SANDLOT_HOME") or DEFAULT_HOME)
    return LocalServer(home, _read_line(home, "url") or DEFAULT_URL, _read_line(home, "key"))


def _read_line(home: str, name: str) -> str | None:
    try:
        with open(os.path.join(home, name), encoding="utf-8") as file:
            return file.readline().strip() or None
    except OSError:
        return None
