"""The commands that a template's methods stand for."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandlot import (
    BuildException,
    LogEntry,
    LogEntryStart,
    Template,
    TemplateBuilder,
    default_build_logger,
    wait_for_file,
    wait_for_process,
    wait_for_timeout,
    wait_for_url,
)


@pytest.fixture
def builder() -> TemplateBuilder:
    return Template().from_base_image()


@pytest.mark.parametrize(
    ("method", "arguments", "options", "expected"),
    [
        ("remove", (["/a b", "/c"],), {"recursive": True, "force": True}, ["rm -r -f '/a b' /c"]),
        ("rename", ("/a", "/b"), {"force": True, "user": "root"}, ["mv -f /a /b", "root"]),
        ("make_dir", (Path("/a"),), {"mode": 0o700}, ["mkdir -p -m 0700 /a"]),
        ("make_symlink", ("/a", "/b"), {}, ["ln -s /a /b"]),
        ("pip_install", (), {}, ["pip install .", "root"]),
        ("pip_install", (["a", "b>=1"],), {"g": False}, ["pip install --user a b>=1"]),
        ("npm_install", ("x",), {"g": True}, ["npm install -g x", "root"]),
        ("bun_install", (), {"dev": True}, ["bun install --dev"]),
        (
            "apt_install",
            ("vim",),
            {"no_install_recommends": True},
            ["apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends vim", "root"],
        ),
        (
            "git_clone",
            ("u", "/d"),
            {"branch": "b", "depth": 1},
            ["git clone --branch b --single-branch --depth 1 u /d"],
        ),
    ],
)
def test_commands(builder: TemplateBuilder, method: str, arguments: Any, options: Any, expected: list[str]) -> None:
    assert getattr(builder, method)(*arguments, **options) is builder
    (step,) = builder._recipe.steps
    assert (step.kind, step.args) == ("RUN", expected)


def test_mcp_servers_need_their_template(builder: TemplateBuilder) -> None:
    gateway = Template().from_template("mcp-gateway").add_mcp_server(["exa", "git"])
    assert gateway._recipe.steps[0].args == ["mcp-gateway pull exa git", "root"]
    with pytest.raises(BuildException, match="begins with"):
        builder.add_mcp_server("exa")


def test_as_a_dockerfile(builder: TemplateBuilder) -> None:
    builder.copy_items([{"src": ["a", "b"], "dest": "/x", "mode": 0o644}]).set_user("me").set_workdir("/x")
    builder.set_envs({"A": "1", "B": "2"}).set_envs({}).run_cmd("go").set_start_cmd("serve", "true")
    text = "FROM e2bdev/base\nCOPY a /x\nCOPY b /x\nUSER me\nWORKDIR /x\nENV A=1 B=2\nRUN go\nENTRYPOINT serve\n"
    assert Template.to_dockerfile(builder) == text
    with pytest.raises(ValueError, match="'base' is no image"):
        Template.to_dockerfile(Template().from_template("base"))


def test_from_a_dockerfile(tmp_path: Path) -> None:
    text = "FROM debian\nRUN one\nCMD serve\n"
    (tmp_path / "Dockerfile").write_text(text)
    for given, name in ((text, "Dockerfile"), (str(tmp_path / "Dockerfile"), str(tmp_path / "Dockerfile"))):
        recipe = Template().from_dockerfile(given)._recipe
        assert (recipe.image, recipe.start_command, recipe.ready_command) == ("debian", "serve", "sleep 20")
        assert recipe.find_origin("3") == f"{name}:2"


def test_cache_is_skipped_from_a_step_on(builder: TemplateBuilder) -> None:
    builder.run_cmd("a").skip_cache().run_cmd("b").copy("c", "/")
    assert [step.force for step in builder._recipe.steps] == [False, True, True]


def test_what_to_wait_for() -> None:
    assert wait_for_file("/a b").get_cmd() == "[ -f '/a b' ]"
    assert wait_for_process("x").get_cmd() == "pgrep x > /dev/null"
    assert [wait_for_timeout(ms).get_cmd() for ms in (10, 2500)] == ["sleep 1", "sleep 2"]
    assert '-w "%{http_code}" \'http://a/?b&c\')" = "204" ]' in wait_for_url("http://a/?b&c", 204).get_cmd()


def test_the_log_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    log, now = default_build_logger("warn"), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    log(LogEntryStart(now, "begins"))
    log(LogEntry(now, "info", "said"))
    log(LogEntry(now, "error", "went wrong"))
    assert re.fullmatch(r"0\.\ds  \| 03:04:05 ERROR went wrong\n", capsys.readouterr().out)
