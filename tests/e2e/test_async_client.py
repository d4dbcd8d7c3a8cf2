"""Our own client against real sandboxes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandlot import (
    AsyncSandbox,
    AsyncTemplate,
    BuildException,
    CommandExitException,
    FileNotFoundException,
    FileType,
    NotFoundException,
    SandboxNotFoundException,
    SandboxNotRunningException,
    SandboxQuery,
    SandboxState,
    TimeoutException,
    wait_for_port,
)
from support.live import LiveServer

pytestmark = pytest.mark.docker

MEGABYTE = 1024 * 1024


@pytest.fixture
async def ours(server: LiveServer) -> AsyncIterator[AsyncSandbox]:
    async with await AsyncSandbox.create(timeout=120, metadata={"test": "client"}, **server.options) as sandbox:
        yield sandbox


async def test_it_is_found_without_settings(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDLOT_HOME", str(server.home))
    for name in ("E2B_API_KEY", "E2B_API_URL", "E2B_SANDBOX_URL", "E2B_DOMAIN"):
        monkeypatch.delenv(name, raising=False)
    async with await AsyncSandbox.create() as sandbox:
        assert (await sandbox.commands.run("echo hello")).stdout == "hello\n"


async def test_life(server: LiveServer, ours: AsyncSandbox) -> None:
    assert await ours.is_running()
    info = await ours.get_info()
    assert (info.sandbox_id, info.state, info.metadata) == (ours.sandbox_id, SandboxState.RUNNING, {"test": "client"})
    await ours.set_timeout(60)
    assert (await ours.get_info()).end_at < info.end_at
    pages = AsyncSandbox.list(SandboxQuery(metadata={"test": "client"}), **server.options)
    assert ours.sandbox_id in [each.sandbox_id for each in await pages.next_items()]
    same = await AsyncSandbox.connect(ours.sandbox_id, **server.options)
    assert (await same.commands.run("echo $HOME")).stdout == "/home/user\n"
    assert await ours.kill()
    assert await ours.kill() is False
    assert await ours.is_running() is False
    with pytest.raises(SandboxNotFoundException):
        await ours.get_info()
    with pytest.raises(SandboxNotRunningException):
        await ours.commands.run("true")


async def test_pause_and_resume(ours: AsyncSandbox) -> None:
    await ours.files.write("kept", "yes")
    handle = await ours.commands.run("sleep 600", background=True, timeout=0)
    assert await ours.pause()
    assert await ours.pause() is False
    assert await ours.is_running() is False
    await ours.connect()
    assert await ours.files.read("kept") == "yes"
    assert handle.pid in [process.pid for process in await ours.commands.list()]
    assert await ours.commands.kill(handle.pid)


async def test_commands(ours: AsyncSandbox) -> None:
    heard: list[str] = []
    result = await ours.commands.run("echo out; echo err >&2; id -un; pwd", on_stdout=heard.append, cwd="/tmp")
    assert (result.stdout, result.stderr, "".join(heard)) == ("out\nuser\n/tmp\n", "err\n", result.stdout)
    assert (await ours.commands.run("echo $A $USER", envs={"A": "ä"}, user="root")).stdout == "ä root\n"
    with pytest.raises(CommandExitException) as caught:
        await ours.commands.run("echo why >&2; exit 7")
    assert (caught.value.exit_code, caught.value.stderr) == (7, "why\n")
    with pytest.raises(TimeoutException):
        await ours.commands.run("sleep 600", timeout=0.5)
    with pytest.raises(NotFoundException):
        await ours.commands.connect(999_999)
    assert await ours.commands.kill(999_999) is False


async def test_talking_to_a_command(ours: AsyncSandbox) -> None:
    cat = await ours.commands.run("cat; exit 3", background=True, stdin=True)
    follower = await ours.commands.connect(cat.pid)
    await cat.send_stdin("grüße\n")
    await ours.commands.send_stdin(cat.pid, b"bytes\n")
    await cat.close_stdin()
    for handle in (cat, follower):
        with pytest.raises(CommandExitException, match="code 3"):
            await handle.wait()
        assert handle.stdout == "grüße\nbytes\n"
    sleeper = await ours.commands.run("sleep 600", background=True)
    assert await sleeper.kill()
    with pytest.raises(CommandExitException) as caught:
        await sleeper.wait()
    assert caught.value.error == "signal: killed"


async def test_much_output(ours: AsyncSandbox) -> None:
    result = await ours.commands.run(f"head -c {20 * MEGABYTE} /dev/zero | tr '\\0' x")
    assert result.stdout == "x" * 20 * MEGABYTE


async def test_files(ours: AsyncSandbox) -> None:
    info = await ours.files.write("new/dir/file.txt", "grüße", metadata={"author": "me"})
    assert (info.path, info.type, info.metadata) == ("/home/user/new/dir/file.txt", FileType.FILE, {"author": "me"})
    assert await ours.files.read("new/dir/file.txt") == "grüße"
    entry = await ours.files.get_info("new/dir/file.txt")
    assert (entry.size, entry.permissions, entry.owner, entry.metadata) == (7, "-rw-r--r--", "user", {"author": "me"})
    files = [{"path": f"many/{number}", "data": str(number)} for number in range(5)]
    assert len(await ours.files.write_files(files)) == 5
    assert [each.name for each in await ours.files.list("many")] == ["0", "1", "2", "3", "4"]
    assert await ours.files.make_dir("many") is False
    moved = await ours.files.rename("many/0", "moved")
    assert moved.path == "/home/user/moved"
    await ours.files.remove("many")
    assert await ours.files.exists("many/1") is False
    with pytest.raises(FileNotFoundException, match="many/1"):
        await ours.files.read("many/1")
    with pytest.raises(FileNotFoundException):
        await ours.files.list("many")


@pytest.mark.parametrize("gzip", [False, True])
async def test_large_files(ours: AsyncSandbox, gzip: bool) -> None:
    content = bytes(range(256)) * 4096 * 30
    await ours.files.write("large", io.BytesIO(content), gzip=gzip)
    assert await ours.files.read("large", format="bytes", gzip=gzip) == content
    size = 0
    async for piece in await ours.files.read("large", format="stream", gzip=gzip):
        size += len(piece)
    assert size == len(content)


async def test_a_command_ends_with_its_sandbox(ours: AsyncSandbox) -> None:
    handle = await ours.commands.run("sleep 600", background=True, timeout=0)
    await ours.kill()
    with pytest.raises(SandboxNotRunningException, match="was killed or reached its end of life"):
        await handle.wait()


async def test_snapshots(server: LiveServer, ours: AsyncSandbox) -> None:
    await ours.files.write("kept", "yes")
    snapshot = await ours.create_snapshot()
    async with await AsyncSandbox.create(snapshot.snapshot_id, **server.options) as copy:
        assert await copy.files.read("kept") == "yes"
    assert snapshot in await ours.list_snapshots().next_items()
    assert await AsyncSandbox.delete_snapshot(snapshot.snapshot_id, **server.options)
    assert await AsyncSandbox.delete_snapshot(snapshot.snapshot_id, **server.options) is False


async def test_fork(ours: AsyncSandbox) -> None:
    await ours.files.write("kept", "yes")
    for fork in await ours.fork(count=2):
        assert isinstance(fork, AsyncSandbox), fork
        assert await fork.files.read("kept") == "yes"
        await fork.kill()


async def test_a_template(server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text("hello")
    (tmp_path / "site/link").symlink_to("index.html")
    template = (
        AsyncTemplate(tmp_path)
        .from_base_image()
        .copy("site", "/srv/site", user="root", mode=0o755, gzip=False, resolve_symlinks=True)
        .make_dir("/srv/empty", user="root")
        .set_workdir("/srv")
        .set_start_cmd("python3 -m http.server 8000 -d /srv/site", wait_for_port(8000))
    )
    lines: list[str] = []
    build = await AsyncTemplate.build(
        template, "site:v1", on_build_logs=lambda entry: lines.append(entry.message), **server.options
    )
    assert any(line.startswith("[builder 2/3] RUN mkdir -p /srv/empty") for line in lines), lines
    async with await AsyncSandbox.create("site:v1", **server.options) as sandbox:
        shown = await sandbox.commands.run("pwd; ls; stat -c '%U %a %F' site/link; curl -s localhost:8000/link")
        assert shown.stdout == "/srv\nempty\nsite\nroot 755 regular file\nhello"
    await AsyncTemplate.assign_tags("site:v1", ["stable"], **server.options)
    tags = await AsyncTemplate.get_tags("site", **server.options)
    assert {tag.tag: tag.build_id for tag in tags} == dict.fromkeys(("v1", "stable"), build.build_id)
    await AsyncTemplate.remove_tags("site", "v1", **server.options)
    names = ("site:stable", "site:v1", "nothing")
    assert [await AsyncTemplate.exists(name, **server.options) for name in names] == [True, False, False]


async def test_a_template_that_fails(server: LiveServer) -> None:
    template = AsyncTemplate().from_template("base").run_cmd("exit 3")
    with pytest.raises(BuildException, match="step 1: failed to run command 'exit 3': exit status 3") as caught:
        await AsyncTemplate.build(template, "fails", **server.options)
    assert __file__ in caught.value.__notes__[0]
