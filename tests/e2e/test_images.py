"""What the images hold: the tools a stranger expects in `base`, and an agent's volume that is whole or made anew."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = "sandlot/base:latest"
TOOLS = "python3 python pip node npm git curl wget gcc make sudo ps ss tput jq bash ping update-ca-certificates"
AGENT_IMPORTS = "import asyncio, httptools, sandlot_envd, sandlot_protocol"

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def ask(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def in_base(script: str, *options: str) -> str:
    return ask("docker", "run", "--rm", "--network", "none", *options, BASE, "bash", "-c", script)


def test_base_holds_the_tools() -> None:
    assert in_base(f"for tool in {TOOLS}; do command -v $tool >/dev/null || echo $tool; done") == ""
    assert "bookworm" in in_base(". /etc/os-release; echo $VERSION_CODENAME; ls $(git --exec-path)/git-daemon")


def test_base_belongs_to_its_user() -> None:
    told = in_base("id -u; sudo id -u; cd; pwd; umask; touch /usr/local/lib/mine /code/mine", "-u", "user")
    assert told.split() == ["1000", "0", "/home/user", "0022"]


def test_pip_installs_without_asking() -> None:
    made = r"mkdir /tmp/mine; printf '[project]\nname = \"mine\"\nversion = \"1\"\n' >/tmp/mine/pyproject.toml"
    install = "pip install --quiet --no-index --no-build-isolation /tmp/mine; pip show mine"
    assert "Name: mine" in in_base(f"{made}; {install}", "-u", "user")


def test_ping_needs_no_capability() -> None:
    allowed = ["--cap-drop", "NET_RAW", "--sysctl", "net.ipv4.ping_group_range=0 2147483647", "-u", "user"]
    assert " 0% packet loss" in in_base("ping -c 1 127.0.0.1", *allowed)


def test_a_login_shell_starts_nothing() -> None:
    """Every command of an SDK is `bash -l -c …`: /etc/profile must cost next to nothing."""
    begun, ended = in_base(
        "echo $EPOCHREALTIME; for i in {1..50}; do bash -l -c true; done; echo $EPOCHREALTIME"
    ).split()
    assert (float(ended) - float(begun)) / 50 < 0.05


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """The recipes and an agent that nobody else has, hence a volume of its own."""
    for folder in ("docker", "envd"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "envd/sandlot_envd/mine.py").write_text(f"MADE = {time.time()}\n")
    yield tmp_path
    volume = _build_agent(tmp_path)
    ask("docker", "volume", "rm", volume)


def _build_agent(tree: Path) -> str:
    return ask(tree / "docker/build.sh", "agent").removeprefix("SANDLOT_AGENT_VOLUME=")


def _in_volume(volume: str, *command: str) -> str:
    return ask("docker", "run", "--rm", "--network", "none", "-v", f"{volume}:/opt/sandlot", BASE, *command)


def test_a_volume_without_its_mark_is_made_anew(tree: Path) -> None:
    volume = _build_agent(tree)
    _in_volume(volume, "rm", "/opt/sandlot/.complete", "/opt/sandlot/lib/python3.11/asyncio/__init__.py")
    assert _build_agent(tree) == volume
    _in_volume(volume, "/opt/sandlot/bin/python3.11", "-I", "-S", "-c", f"{AGENT_IMPORTS}; import sandlot_envd.mine")


def test_a_stream_that_was_cut_off_leaves_no_mark(tree: Path) -> None:
    """Cut between two files, it is a proper archive: only what is missing at its end tells."""
    volume = _build_agent(tree)
    _in_volume(volume, "rm", "/opt/sandlot/.complete")
    archive = subprocess.run(["tar", "-C", tree / "envd", "-c", "sandlot_protocol"], capture_output=True, check=True)
    runtime = ask("docker", "images", "-q", "sandlot/agent-runtime").split()[0]
    add = ["docker", "run", "--rm", "-i", "--network", "none", "-v", f"{volume}:/opt/sandlot", runtime]
    added = subprocess.run(
        [*add, "/opt/sandlot-recipe/add-code.sh"], input=archive.stdout, capture_output=True, timeout=60
    )
    assert b"end-of-code" in added.stderr
    assert added.returncode != 0
    assert ".complete" not in _in_volume(volume, "ls", "-A", "/opt/sandlot").split()
