"""What `Sandbox.create(mcp=…)` asks for: servers of this template by name, or repositories with the command to run."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CATALOGUE = Path("/etc/mcp-gateway/servers")
"""One file for each server of this template, with the shell command that starts it."""
CLONES = Path("/opt/mcp-servers")
PLACE = re.compile(r"github/[\w-]+/[\w.-]+")
NAME = re.compile(r"\w[\w.-]*")
FIELDS = {"runCmd": "run_cmd", "installCmd": "install_cmd"}
"""JavaScript's names and Python's: the SDKs send what the user wrote."""
SETTINGS = "MCP_SERVER_CONFIG"
"""The variable in which a server of this template finds its part of the configuration, as JSON."""


class BadConfiguration(ValueError):
    """What was asked for cannot be served; the message names it."""


@dataclass(frozen=True)
class Server:
    """One server: its name, the shell command that starts it, its variables, and how it is put there."""

    name: str
    run: str
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    install: str | None = None

    def prepare(self) -> None:
        """Clone and install it, unless it is there already; raises BadConfiguration with what the command said."""
        mark = self.folder / ".git/sandlot-installed"
        if self.folder == Path("/") or mark.exists():
            return
        if not self.folder.exists():
            url = f"https://github.com/{self.name.removeprefix('github/')}"
            self._run(["git", "clone", "--quiet", "--depth", "1", url, str(self.folder)], "/")
        if self.install:
            self._run(["bash", "-c", self.install], str(self.folder))
        mark.touch()

    def _run(self, command: list[str], folder: str) -> None:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **self.env, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BadConfiguration(f"MCP server '{self.name}': {' '.join(command)}: {done.stderr.strip()}")


def parse(text: str, catalogue: Path = CATALOGUE) -> list[Server]:
    """The servers of a configuration in JSON; raises BadConfiguration."""
    try:
        wanted = json.loads(text)
    except ValueError as error:
        raise BadConfiguration(f"the configuration is no JSON: {error}") from None
    if not isinstance(wanted, dict):
        raise BadConfiguration("the configuration is no object")
    return [_parse_server(name, value, catalogue) for name, value in wanted.items()]


def _parse_server(name: str, value: object, catalogue: Path) -> Server:
    if not isinstance(value, dict):
        raise BadConfiguration(f"MCP server '{name}': its configuration is no object")
    if PLACE.fullmatch(name):
        return _parse_repository(name, value)
    return Server(name, find_command(name, catalogue), {SETTINGS: json.dumps(value)})


def _parse_repository(name: str, value: dict[str, object]) -> Server:
    fields = {FIELDS.get(key, key): given for key, given in value.items()}
    if unknown := set(fields) - {*FIELDS.values(), "envs"}:
        raise BadConfiguration(f"MCP server '{name}': unknown {', '.join(sorted(unknown))}")
    run, install, envs = fields.get("run_cmd"), fields.get("install_cmd"), fields.get("envs") or {}
    if not isinstance(run, str):
        raise BadConfiguration(f"MCP server '{name}' has no run_cmd (runCmd)")
    if install is not None and not isinstance(install, str):
        raise BadConfiguration(f"MCP server '{name}': install_cmd is no text")
    if not isinstance(envs, dict) or not all(isinstance(one, str) for one in envs.values()):
        raise BadConfiguration(f"MCP server '{name}': envs is no map of texts")
    return Server(name, run, envs, CLONES / name.removeprefix("github/"), install)


def find_command(name: str, catalogue: Path = CATALOGUE) -> str:
    """The command of a server of this template; raises BadConfiguration, with what to do, when it has none."""
    if NAME.fullmatch(name) and (catalogue / name).is_file():
        return (catalogue / name).read_text()
    known = ", ".join(sorted(path.name for path in catalogue.glob("*"))) or "none"
    raise BadConfiguration(
        f"MCP server '{name}' is not in this template (there: {known}), and containers of Docker's MCP catalogue "
        f"cannot be run here: build a template from mcp-gateway that installs it and runs `mcp-gateway add {name} "
        "COMMAND`, or ask for github/OWNER/NAME with a run_cmd"
    )


def add(name: str, command: str, catalogue: Path = CATALOGUE) -> None:
    """Have a server in this template from now on; raises BadConfiguration."""
    if not NAME.fullmatch(name):
        raise BadConfiguration(f"'{name}' is no name for an MCP server")
    catalogue.mkdir(parents=True, exist_ok=True)
    (catalogue / name).write_text(command)
