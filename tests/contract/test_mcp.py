"""`Sandbox.create(mcp=…)`: real servers on their standard streams, used by the official MCP client over https."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from e2b import Sandbox, SandboxException, Template

from support.live import LiveServer

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).with_name("use_mcp.py")
GREETER = """
import os
from mcp.server.fastmcp import FastMCP

server = FastMCP("greeter")

@server.tool()
def greet(name: str) -> str:
    return f"{os.environ.get('GREETING', 'hello')}, {name}"

@server.tool()
def show_configuration() -> str:
    return os.environ.get("MCP_SERVER_CONFIG", "")

server.run()
"""
REPOSITORY = "/srv/git/acme/greeter"
"""Stands in for one that would be cloned from outside."""


@pytest.fixture(scope="module")
def template(server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mcp")
    (folder / "greeter.py").write_text(GREETER)
    commit = "git init -q . && git add -A && git -c user.name=a -c user.email=a@b.c commit -qm a"
    recipe = (
        Template(file_context_path=folder)
        .from_template("mcp-gateway")
        .set_user("root")
        .copy("greeter.py", f"{REPOSITORY}/greeter.py")
        .run_cmd(f"cd {REPOSITORY} && {commit}")
        .run_cmd('git config --system url."file:///srv/git/".insteadOf https://github.com/')
        .run_cmd(f'mcp-gateway add greeter "python3 {REPOSITORY}/greeter.py"')
        .add_mcp_server("greeter")
    )
    Template.build(recipe, alias="with-mcp", cpu_count=1, memory_mb=1024, **server_of(server))
    return "with-mcp"


def server_of(server: LiveServer) -> dict[str, str]:
    return {"api_url": server.url, "api_key": server.key}


def use(server: LiveServer, template: str, configuration: object) -> dict[str, object]:
    command = [sys.executable, PROGRAM, template, json.dumps(configuration)]
    done = subprocess.run(
        command, env=server.read_domain_environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_a_server_of_the_template(server: LiveServer, template: str) -> None:
    told = use(server, template, {"greeter": {"loud": True}})
    assert told == {
        "tools": ["greet", "show_configuration"],
        "greeting": "hello, you",
        "configured": '{"loud": true}',
        "refused": 401,
        "kept": True,
    }


@pytest.mark.parametrize("names", [("run_cmd", "install_cmd"), ("runCmd", "installCmd")])
def test_a_server_of_a_repository(server: LiveServer, template: str, names: tuple[str, str]) -> None:
    run, install = names
    wanted = {run: "python3 installed.py", install: "mv greeter.py installed.py", "envs": {"GREETING": "good day"}}
    assert use(server, template, {"github/acme/greeter": wanted})["greeting"] == "good day, you"


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ({"exa": {"apiKey": "x"}}, "MCP server 'exa' is not in this template (there: greeter)"),
        (
            {"github/acme/greeter": {"run_cmd": "echo broken >&2; exit 3"}},
            "MCP server 'github/acme/greeter' did not start",
        ),
        ({"github/acme/nothing": {"run_cmd": "true"}}, "MCP server 'github/acme/nothing': git clone"),
        ({"github/acme/greeter": {"run_cmd": "x", "install_cmd": "echo no >&2; false"}}, "no"),
        ({"github/acme/greeter": {}}, "has no run_cmd (runCmd)"),
        ({"github/acme/greeter": {"run_cmd": "x", "start": "y"}}, "unknown start"),
    ],
)
def test_what_cannot_be_served_is_named(
    server: LiveServer, template: str, configuration: dict[str, object], told: str
) -> None:
    with pytest.raises(SandboxException) as raised:
        Sandbox.create(template, mcp=configuration, **server.options)
    assert told in str(raised.value)
