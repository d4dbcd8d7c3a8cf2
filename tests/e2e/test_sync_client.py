# Generated from tests/e2e/test_async_client.py by sandlot._dev.unasync: change that file, not this one.
"""Our own client against real sandboxes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandlot import (
    BuildException,
    CommandExitException,
    FileNotFoundException,
    FileType,
    NotFoundException,
    Sandbox,
    SandboxNotFoundException,
    SandboxNotRunningException,
    SandboxQuery,
    SandboxState,
    Template,
    TimeoutException,
    wait_for_port,
)
from support.live import LiveServer

pytestmark = pytest.mark.docker

MEGABYTE = 1024 * 1024


@pytest.fixture
def ours(server: LiveServer) -> Iterator[Sandbox]:
    with Sandbox.create(timeout=120, metadata={"test": "client"}, **server.options) as sandbox:
        yield sandbox


def test_it_is_found_without_settings(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDLOT_HOME", str(server.home))
    for name in ("E2B_API_KEY", "E2B_API_URL", "E2B_SANDBOX_URL", "E2B_DOMAIN"):
        monkeypatch.delenv(name, raising=False)
    with Sandbox.create() as sandbox:
        assert (sandbox.commands.run("echo hello")).stdout == "hello\n"


def test_life(server: LiveServer, ours: Sandbox) -> None:
    assert ours.is_running()
    info = ours.get_info()
    assert (info.sandbox_id, info.state, info.metadata) == (ours.sandbox_id, SandboxState.RUNNING, {"test": "client"})
    ours.set_timeout(60)
    assert (ours.get_info()).end_at < info.end_at
    pages = Sandbox.list(SandboxQuery(metadata={"test": "client"}), **server.options)
    assert ours.sandbox_id in [each.sandbox_id for each in pages.next_items()]
    same = Sandbox.connect(ours.sandbox_id, **server.options)
    assert (same.commands.run("echo $HOME")).stdout == "/home/user\n"
    assert ours.kill()
    assert ours.kill() is False
    assert ours.is_running() is False
    with pytest.raises(SandboxNotFoundException):
        ours.get_info()
    with pytest.raises(SandboxNotRunningException):
        ours.commands.run("true")


def test_pause_and_resume(ours: Sandbox) -> None:
    ours.files.write("kept", "yes")
    handle = ours.commands.run("sleep 600", background=True, timeout=0)
    assert ours.pause()
    assert ours.pause() is False
    assert ours.is_running() is False
    ours.connect()
    assert ours.files.read("kept") == "yes"
    assert handle.pid in [process.pid for process in ours.commands.list()]
    assert ours.commands.kill(handle.pid)


def test_commands(ours: Sandbox) -> None:
    heard: list[str] = []
    result = ours.commands.run("echo out; echo err >&2; id -un; pwd", on_stdout=heard.append, cwd="/tmp")
    assert (result.stdout, result.stderr, "".join(heard)) == ("out\nuser\n/tmp\n", "err\n", result.stdout)
    assert (ours.commands.run("echo $A $USER", envs={"A": "ä"}, user="root")).stdout == "ä root\n"
    with pytest.raises(CommandExitException) as caught:
        ours.commands.run("echo why >&2; exit 7")
    assert (caught.value.exit_code, caught.value.stderr) == (7, "why\n")
    with pytest.raises(TimeoutException):
        ours.commands.run("sleep 600", timeout=0.5)
    with pytest.raises(NotFoundException):
        ours.commands.connect(999_999)
    assert ours.commands.kill(999_999) is False


def test_talking_to_a_command(ours: Sandbox) -> None:
    cat = ours.commands.run("cat; exit 3", background=True, stdin=True)
    follower = ours.commands.connect(cat.pid)
    cat.send_stdin("grüße\n")
    ours.commands.send_stdin(cat.pid, b"bytes\n")
    cat.close_stdin()
    for handle in (cat, follower):
        with pytest.raises(CommandExitException, match="code 3"):
            handle.wait()
        assert handle.stdout == "grüße\nbytes\n"
    sleeper = ours.commands.run("sleep 600", background=True)
    assert sleeper.kill()
    with pytest.raises(CommandExitException) as caught:
        sleeper.wait()
    assert caught.value.error == "signal: killed"


def test_much_output(ours: Sandbox) -> None:
    result = ours.commands.run(f"head -c {20 * MEGABYTE} /dev/zero | tr '\\0' x")
    assert result.stdout == "x" * 20 * MEGABYTE


def test_files(ours: Sandbox) -> None:
    info = ours.files.write("new/dir/file.txt", "grüße", metadata={"author": "me"})
    assert (info.path, info.type, info.metadata) == ("/home/user/new/dir/file.txt", FileType.FILE, {"author": "me"})
    assert ours.files.read("new/dir/file.txt") == "grüße"
    entry = ours.files.get_info("new/dir/file.txt")
    assert (entry.size, entry.permissions, entry.owner, entry.metadata) == (7, "-rw-r--r--", "user", {"author": "me"})
    files = [{"path": f"many/{number}", "data": str(number)} for number in range(5)]
    assert len(ours.files.write_files(files)) == 5
    assert [each.name for each in ours.files.list("many")] == ["0", "1", "2", "3", "4"]
    assert ours.files.make_dir("many") is False
    moved = ours.files.rename("many/0", "moved")
    assert moved.path == "/home/user/moved"
    ours.files.remove("many")
    assert ours.files.exists("many/1") is False
    with pytest.raises(FileNotFoundException, match="many/1"):
        ours.files.read("many/1")
    with pytest.raises(FileNotFoundException):
        ours.files.list("many")


@pytest.mark.parametrize("gzip", [False, True])
def test_large_files(ours: Sandbox, gzip: bool) -> None:
    content = bytes(range(256)) * 4096 * 30
    ours.files.write("large", io.BytesIO(content), gzip=gzip)
    assert ours.files.read("large", format="bytes", gzip=gzip) == content
    size = 0
    for piece in ours.files.read("large", format="stream", gzip=gzip):
        size += len(piece)
    assert size == len(content)


def test_a_command_ends_with_its_sandbox(ours: Sandbox) -> None:
    handle = ours.commands.run("sleep 600", background=True, timeout=0)
    ours.kill()
    with pytest.raises(SandboxNotRunningException, match="was killed or reached its end of life"):
        handle.wait()


def test_snapshots(server: LiveServer, ours: Sandbox) -> None:
    ours.files.write("kept", "yes")
    snapshot = ours.create_snapshot()
    with Sandbox.create(snapshot.snapshot_id, **server.options) as copy:
        assert copy.files.read("kept") == "yes"
    assert snapshot in ours.list_snapshots().next_items()
    assert Sandbox.delete_snapshot(snapshot.snapshot_id, **server.options)
    assert Sandbox.delete_snapshot(snapshot.snapshot_id, **server.options) is False


def test_fork(ours: Sandbox) -> None:
    ours.files.write("kept", "yes")
    for fork in ours.fork(count=2):
        assert isinstance(fork, Sandbox), fork
        assert fork.files.read("kept") == "yes"
        fork.kill()


def test_a_template(server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text("hello")
    (tmp_path / "site/link").symlink_to("index.html")
    template = (
        Template(tmp_path)
        .from_base_image()
        .copy("site", "/srv/site", user="root", mode=0o755, gzip=False, resolve_symlinks=True)
        .make_dir("/srv/empty", user="root")
        .set_workdir("/srv")
        .set_start_cmd("python3 -m http.server 8000 -d /srv/site", wait_for_port(8000))
    )
    lines: list[str] = []
    build = Template.build(
        template, "site:v1", on_build_logs=lambda entry: lines.append(entry.message), **server.options
    )
    assert any(line.startswith("[builder 2/3] RUN mkdir -p /srv/empty") for line in lines), lines
    with Sandbox.create("site:v1", **server.options) as sandbox:
        shown = sandbox.commands.run("pwd; ls; stat -c '%U %a %F' site/link; curl -s localhost:8000/link")
        assert shown.stdout == "/srv\nempty\nsite\nroot 755 regular file\nhello"
    Template.assign_tags("site:v1", ["stable"], **server.options)
    tags = Template.get_tags("site", **server.options)
    assert {tag.tag: tag.build_id for tag in tags} == dict.fromkeys(("v1", "stable"), build.build_id)
    Template.remove_tags("site", "v1", **server.options)
    names = ("site:stable", "site:v1", "nothing")
    assert [Template.exists(name, **server.options) for name in names] == [True, False, False]


def test_a_template_that_fails(server: LiveServer) -> None:
    template = Template().from_template("base").run_cmd("exit 3")
    with pytest.raises(BuildException, match="step 1: failed to run command 'exit 3': exit status 3") as caught:
        Template.build(template, "fails", **server.options)
    assert __file__ in caught.value.__notes__[0]
