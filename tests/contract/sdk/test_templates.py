"""Building templates through the official Python SDK. Also run with an SDK of an earlier era.

Imports only e2b, pytest and the standard library; the endpoint and key come from the environment.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2b import LogEntry, Sandbox, Template, wait_for_port

UNIQUE = "cat /proc/sys/kernel/random/uuid"
"""Says something else each time it runs: what it wrote tells whether it ran again."""


@pytest.fixture(scope="module")
def name() -> str:
    return f"contract-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "app/sub").mkdir(parents=True)
    (tmp_path / "app/main.py").write_text("print('hello')\n")
    (tmp_path / "app/sub/data.txt").write_text("one")
    os.symlink("main.py", tmp_path / "app/link.py")
    return tmp_path


@pytest.fixture
def sandboxes() -> Iterator[list[Sandbox]]:
    made: list[Sandbox] = []
    yield made
    for sandbox in made:
        sandbox.kill()


def build(template: Template, name: str) -> list[str]:
    """Build, and return what the build said."""
    said: list[str] = []

    def listen(entry: LogEntry) -> None:
        said.append(entry.message)

    Template.build(template, alias=name, cpu_count=1, memory_mb=512, on_build_logs=listen)
    return said


def run_in(template: str, command: str, sandboxes: list[Sandbox]) -> str:
    sandbox = Sandbox.create(template, timeout=60)
    sandboxes.append(sandbox)
    return str(sandbox.commands.run(command).stdout)


def test_steps_and_their_cache(context: Path, name: str, sandboxes: list[Sandbox]) -> None:
    def describe() -> Template:
        return (
            Template(file_context_path=context)
            .from_base_image()
            .set_envs({"GREETING": "hi there"})
            .run_cmd(f"{UNIQUE} > ~/first")
            .set_workdir("/srv/app")
            .copy("app", ".")
            .run_cmd(f"python3 main.py && {UNIQUE} > ~/second")
        )

    show = "cat ~/first ~/second; echo $GREETING; pwd; whoami; ls -l; cat sub/data.txt"
    said = build(describe(), name)
    assert any("[stdout]: hello" in line for line in said)
    first = run_in(name, show, sandboxes).splitlines()
    assert first[2:5] == ["hi there", "/srv/app", "user"]
    assert any(line.endswith("link.py -> main.py") for line in first)

    said = build(describe(), name)
    assert sum(line.startswith("CACHED [builder") for line in said) == 5
    assert run_in(name, show, sandboxes).splitlines() == first

    (context / "app/sub/data.txt").write_text("two")
    build(describe(), name)
    changed = run_in(name, show, sandboxes).splitlines()
    assert (changed[0], changed[-1]) == (first[0], "two")
    assert changed[1] != first[1]


def test_a_start_command_runs_when_create_returns(sandboxes: list[Sandbox]) -> None:
    name = f"started-{uuid.uuid4().hex[:8]}"
    command = "cd /tmp && python3 -m http.server 8000"
    serving = Template().from_template("base").set_start_cmd(command, wait_for_port(8000))
    build(serving, name)
    look = "curl -s -o /dev/null -w '%{http_code}' localhost:8000"
    assert run_in(name, look, sandboxes) == "200"
    assert run_in(name, look, sandboxes) == "200"
    build(Template().from_template(name).run_cmd("true"), f"{name}-child")
    assert run_in(f"{name}-child", look, sandboxes) == "200"


def test_files_keep_what_they_are_through_layers(sandboxes: list[Sandbox]) -> None:
    name = f"kept-{uuid.uuid4().hex[:8]}"
    made = (
        Template()
        .from_base_image()
        .run_cmd("touch -d '2001-02-03 04:05:06.123456789' t && ln t hard && truncate -s 50M sparse && chmod 4751 t")
        .run_cmd("sudo chown root:games sparse && mkfifo pipe && ln -s nowhere broken")
    )
    build(made, name)
    show = "stat -c '%y %h %A' t; stat -c '%U:%G %s' sparse; stat -c '%F' pipe; readlink broken; "
    show += "stat -c %i t hard | uniq | wc -l"
    kept = run_in(name, show, sandboxes).splitlines()
    assert kept[0].startswith("2001-02-03 04:05:06.123456789")
    assert kept[0].endswith("2 -rwsr-x--x")
    assert kept[1:] == ["root:games 52428800", "fifo", "nowhere", "1"]


def test_a_step_that_fails_says_why() -> None:
    failing = Template().from_base_image().run_cmd("echo so far; exit 7")
    with pytest.raises(Exception, match="failed to run command 'echo so far; exit 7': exit status 7"):
        build(failing, f"fails-{uuid.uuid4().hex[:8]}")
    nobody = Template().from_base_image().run_cmd("true", user="nobody-here")
    with pytest.raises(Exception, match="command failed: unauthenticated: invalid username: 'nobody-here'"):
        build(nobody, f"fails-{uuid.uuid4().hex[:8]}")
