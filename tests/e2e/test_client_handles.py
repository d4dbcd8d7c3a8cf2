"""What the two halves of our client do each in its own way, against real sandboxes."""

from __future__ import annotations

import asyncio

import pytest

from sandlot import AsyncSandbox, CommandExitException, FilesystemEvent, FilesystemEventType, PtySize, Sandbox
from support.live import LiveServer

pytestmark = pytest.mark.docker

CREATED = [FilesystemEventType.CREATE, FilesystemEventType.CHMOD, FilesystemEventType.WRITE]


async def test_an_async_terminal(server: LiveServer) -> None:
    async with await AsyncSandbox.create(**server.options) as sandbox:
        seen = bytearray()
        terminal = await sandbox.pty.create(PtySize(rows=20, cols=61), seen.extend, envs={"A": "1"})
        await sandbox.pty.resize(terminal.pid, PtySize(rows=20, cols=62))
        await terminal.send_stdin(b"tput cols; echo A=$A; exit 4\n")
        with pytest.raises(CommandExitException, match="code 4"):
            await terminal.wait()
        assert b"62\r\n" in seen
        assert b"A=1\r\n" in seen


def test_a_sync_terminal(server: LiveServer) -> None:
    with Sandbox.create(**server.options) as sandbox:
        seen = bytearray()
        terminal = sandbox.pty.create(PtySize(rows=20, cols=61), "root", "/tmp")
        sandbox.pty.stream_input(terminal.pid, [b"id -un; pwd; ", b"exit 4\n"])
        with pytest.raises(CommandExitException, match="code 4"):
            terminal.wait(on_pty=seen.extend)
        assert b"root\r\n/tmp\r\n" in seen


async def test_an_async_watch(server: LiveServer) -> None:
    async with await AsyncSandbox.create(**server.options) as sandbox:
        events: list[FilesystemEvent] = []
        over = asyncio.get_running_loop().create_future()

        async def hear(event: FilesystemEvent) -> None:
            events.append(event)

        await sandbox.files.make_dir("watched")
        watch = await sandbox.files.watch_dir(".", hear, over.set_result, recursive=True, include_entry=True)
        await sandbox.files.write("watched/file", "x")
        async with asyncio.timeout(10):
            while [event.type for event in events if event.name == "watched/file"] != CREATED:
                await asyncio.sleep(0.02)
        entry = next(event.entry for event in events if event.name == "watched/file")
        assert entry is not None
        assert entry.path == "/home/user/watched/file"
        await watch.stop()
        assert await over is None


async def test_a_watch_ends_with_its_sandbox(server: LiveServer) -> None:
    sandbox = await AsyncSandbox.create(**server.options)
    over = asyncio.get_running_loop().create_future()
    await sandbox.files.watch_dir(".", print, over.set_result, timeout=0)
    await sandbox.kill()
    assert "end of life" in str(await asyncio.wait_for(over, 10))


def test_a_sync_watch(server: LiveServer) -> None:
    with Sandbox.create(**server.options) as sandbox:
        sandbox.files.make_dir("watched")
        watch = sandbox.files.watch_dir("watched")
        sandbox.files.write("watched/file", "x")
        assert [event.type for event in watch.get_new_events()] == CREATED
        assert watch.get_new_events() == []
        watch.stop()


async def test_async_input(server: LiveServer) -> None:
    async with await AsyncSandbox.create(**server.options) as sandbox:
        count = await sandbox.commands.run("wc -c", background=True, stdin=True)
        async with sandbox.commands.stream_input(count.pid) as stdin:
            for _ in range(100):
                await stdin.send(b"x" * 10_000)
        await count.close_stdin()
        assert (await count.wait()).stdout == "1000000\n"


async def test_many_at_once(server: LiveServer) -> None:
    async with await AsyncSandbox.create(**server.options) as sandbox:
        results = await asyncio.gather(*[sandbox.commands.run(f"echo {number}") for number in range(50)])
        assert [result.stdout for result in results] == [f"{number}\n" for number in range(50)]
