"""What `Sandbox.create(mcp=…)` asks for."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

CLONES = Path("/opt/mcp-servers")
KNOWN = {"runCmd", "installCmd", "envs"}
PLACE = re.compile(r"github/[\w-]+/[\w.-]+")


class BadConfiguration(ValueError):
    """What was asked for cannot be served; the message names it."""


@dataclass(frozen=True)
class Server:
    """One server: its name, the shell command that starts it, its variables, and how it is put there."""

    name: str
    run: str
    install: str
    env: dict[str, str]

    @property
    def folder(self) -> Path:
        """Where its repository is."""
        return CLONES / self.name.removeprefix("github/")

    def prepare(self) -> None:
        """Clone and install it, unless it is there already; raises BadConfiguration with what the command said."""
        mark = self.folder / ".git/sandlot-installed"
        if mark.exists():
            return
        if not self.folder.exists():
            url = f"https://github.com/{self.name.removeprefix('github/')}"
            self._run(["git", "clone", "--quiet", "--depth", "1", url, str(self.folder)], "/")
        if self.install:
            self._run(["bash", "-c", self.install], str(self.folder))
        mark.touch()

    def _run(self, command: list[str], folder: str) -> None:
        result = subprocess.run(
            command, cwd=folder, env=os.environ | self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if result.returncode:
            raise BadConfiguration(f"MCP server '{self.name}': {command[-1]}: {result.stderr.strip()}")


def parse(text: str) -> list[Server]:
    """The servers of a configuration in JSON; raises BadConfiguration."""
    try:
        wanted = json.loads(text)
    except ValueError as error:
        raise BadConfiguration(f"the configuration is no JSON: {error}") from None
    if not isinstance(wanted, dict):
        raise BadConfiguration("the configuration is no object")
    return [_parse_server(name, fields) for name, fields in wanted.items()]


def _parse_server(name: str, fields: object) -> Server:
    if not PLACE.fullmatch(name):
        raise BadConfiguration(f"MCP server '{name}' is a container of a catalogue; only github/OWNER/NAME is built")
    if not isinstance(fields, dict) or not isinstance(fields.get("runCmd"), str):
        raise BadConfiguration(f"MCP server '{name}' has no runCmd")
    if unknown := set(fields) - KNOWN:
        raise BadConfiguration(f"MCP server '{name}': unknown {', '.join(sorted(unknown))}")
    return Server(name, fields["runCmd"], fields.get("installCmd") or "", fields.get("envs") or {})
