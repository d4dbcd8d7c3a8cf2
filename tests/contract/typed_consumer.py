"""A program that uses the client, for type checkers alone: it is never run."""
# ruff: noqa

from __future__ import annotations
from collections.abc import AsyncIterator
from sandlot import (
    ApiParams,
    AsyncCommandHandle,
    AsyncSandbox,
    AsyncTemplate,
    BuildInfo,
    CommandHandle,
    CommandResult,
    CopyItem,
    EntryInfo,
    FilesystemEvent,
    LogEntry,
    PtySize,
    Sandbox,
    SandboxInfo,
    SandboxLifecycle,
    SandboxNetworkOpts,
    SnapshotInfo,
    Template,
    TemplateBuildStatusResponse,
    TemplateTag,
    WriteEntry,
    WriteInfo,
    default_build_logger,
    wait_for_port,
)
from typing import assert_type


class Mine(AsyncSandbox):
    extra = 1


async def use() -> None:
    opts: ApiParams = {"api_key": "k"}
    lifecycle: SandboxLifecycle = {"on_timeout": {"action": "pause", "mode": "full"}, "auto_resume": True}
    network: SandboxNetworkOpts = {
        "allow_out": lambda ctx: [ctx.all_traffic],
        "rules": {"a": [{"transform": lambda ctx: {"headers": {"a": ctx.iam.tokens["b"]}}}]},
    }
    sandbox = await Mine.create("base", timeout=5, lifecycle=lifecycle, network=network, **opts)
    assert_type(sandbox, Mine)
    assert_type(await Mine.connect("id", 5, on_resume="reboot"), Mine)
    assert_type(await sandbox.connect(timeout=5), Mine)
    assert_type(await sandbox.kill(), bool)
    assert_type(await Mine.kill("id", request_timeout=3), bool)
    assert_type(await sandbox.fork(count=2), list[Mine | Exception])
    assert_type(await AsyncSandbox.get_info("id"), SandboxInfo)
    assert_type(await sandbox.create_snapshot("a"), SnapshotInfo)
    assert_type(await sandbox.commands.run("x"), CommandResult[str])
    plain: CommandResult = await sandbox.commands.run("x", background=False)
    assert_type(plain.stdout, str)
    assert_type(await sandbox.commands.run("x", background=True), AsyncCommandHandle[str])
    assert_type(await sandbox.commands.run("x", retain_output=False), CommandResult[None])
    assert_type((await sandbox.commands.run("x", background=True, retain_output=False)).stdout, None)
    assert_type(await sandbox.files.read("a"), str)
    assert_type(await sandbox.files.read("a", "bytes"), bytearray)
    async for piece in await sandbox.files.read("a", format="stream"):
        assert_type(piece, bytes)
    assert_type(await sandbox.files.list("."), list[EntryInfo])
    files: list[WriteEntry] = [{"path": "a", "data": "b"}]
    assert_type(await sandbox.files.write_files(files), list[WriteInfo])

    async def hear(event: FilesystemEvent) -> None: ...

    watch = await sandbox.files.watch_dir(".", hear, on_exit=lambda error: print(error))
    await watch.stop()

    async def pieces() -> AsyncIterator[bytes]:
        yield b""

    await sandbox.files.write("a", pieces())
    pty = await sandbox.pty.create(PtySize(rows=1, cols=2), on_data=lambda data: print(data.decode()))
    async for out, err, term in pty:
        assert_type(out, str | None)
    pages = AsyncSandbox.list()
    assert_type(await pages.next_items(), list[SandboxInfo])

    async def log(entry: LogEntry) -> None: ...

    item: CopyItem = {"src": "a", "dest": "/a", "mode": 0o755}
    template = AsyncTemplate("folder").from_base_image().copy(["a", "b"], "/srv").copy_items([item]).run_cmd(["a", "b"])
    build = await AsyncTemplate.build(template, "name", tags=["v1"], on_build_logs=log, **opts)
    assert_type(build, BuildInfo)
    assert_type(await AsyncTemplate.get_build_status(build), TemplateBuildStatusResponse)
    assert_type(await AsyncTemplate.get_tags("name"), list[TemplateTag])


def use_sync() -> None:
    started = Template().from_dockerfile("FROM a").set_start_cmd("serve", wait_for_port(80))
    assert_type(Template.build(started, "name", on_build_logs=default_build_logger("debug")), BuildInfo)
    assert_type(Template.exists("name"), bool)
    with Sandbox.create() as sandbox:
        assert_type(sandbox, Sandbox)
        assert_type(sandbox.commands.run("x", background=True), CommandHandle[str])
        for out, err, term in sandbox.commands.run("x", background=True):
            assert_type(term, bytes | None)
        assert_type(Sandbox.connect("id"), Sandbox)
        assert_type(sandbox.files.watch_dir(".").get_new_events(), list[FilesystemEvent])
        sandbox.files.write("a", open("b", "rb"))
        sandbox.files.write("a", (b"" for _ in range(3)))
        sandbox.pty.create(PtySize(1, 2), "root")
        Sandbox.set_timeout("id", 5)
