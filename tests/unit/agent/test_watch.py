"""Watching folders through a real agent, by stream and by polling."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.agent import Agent, RpcFailed, basic, run_agent
from support.fuse import mount_fuse

SERVICE = "filesystem.Filesystem"
CREATE, WRITE, REMOVE, RENAME, CHMOD = (
    f"EVENT_TYPE_{name}" for name in ("CREATE", "WRITE", "REMOVE", "RENAME", "CHMOD")
)
USER = basic("user")


class Watcher:
    """A polled watcher."""

    def __init__(self, agent: Agent, watcher_id: str) -> None:
        self.agent = agent
        self.id = watcher_id

    async def poll(self) -> list[Any]:
        answer = await self.agent.call(f"{SERVICE}/GetWatcherEvents", {"watcherId": self.id})
        return list(answer.get("events", []))

    async def changes(self) -> list[tuple[str, str]]:
        return [(event["name"], event["type"]) for event in await self.poll()]


@contextlib.asynccontextmanager
async def watching(agent: Agent, path: Path | str, **options: Any) -> AsyncIterator[Watcher]:
    answer = await agent.call(f"{SERVICE}/CreateWatcher", {"path": str(path), **options})
    watcher = Watcher(agent, answer["watcherId"])
    yield watcher
    with contextlib.suppress(RpcFailed):
        await agent.call(f"{SERVICE}/RemoveWatcher", {"watcherId": watcher.id})


async def write(agent: Agent, path: Path, body: bytes = b"content") -> None:
    answer = await agent.request(
        "POST", f"/files?path={path}&username=user", body, {"Content-Type": "application/octet-stream"}
    )
    assert answer.status == 200, answer.body


async def test_a_small_new_file_is_exactly_three_events(agent: Agent, tmp_path: Path) -> None:
    async with watching(agent, tmp_path) as watcher:
        await write(agent, tmp_path / "a.txt")
        assert await watcher.changes() == [("a.txt", CREATE), ("a.txt", CHMOD), ("a.txt", WRITE)]
        assert await watcher.changes() == []


async def test_so_is_one_in_a_folder_below(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    async with watching(agent, tmp_path, recursive=True) as watcher:
        await write(agent, tmp_path / "sub/a.txt")
        assert await watcher.changes() == [("sub/a.txt", CREATE), ("sub/a.txt", CHMOD), ("sub/a.txt", WRITE)]


async def test_changes_of_an_existing_file(agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("old")
    async with watching(agent, tmp_path) as watcher:
        file.write_text("newer")
        # Cut and written: one event, or two when the agent has read the first before the second comes.
        assert set(await watcher.changes()) == {("a", WRITE)}
        file.chmod(0o600)
        assert await watcher.changes() == [("a", CHMOD)]
        file.rename(tmp_path / "b")
        assert await watcher.changes() == [("a", RENAME), ("b", CREATE)]
        (tmp_path / "b").unlink()
        assert await watcher.changes() == [("b", REMOVE)]


async def test_without_recursion_nothing_nested_is_told(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    async with watching(agent, tmp_path) as watcher:
        (tmp_path / "sub/a").write_text("x")
        (tmp_path / "new").mkdir()
        (tmp_path / "new/a").write_text("x")
        assert await watcher.changes() == [("new", CREATE)]


async def test_a_file_written_right_after_its_folder(agent: Agent, tmp_path: Path) -> None:
    async with watching(agent, tmp_path, recursive=True) as watcher:
        await agent.call(f"{SERVICE}/MakeDir", {"path": str(tmp_path / "sub")})
        await write(agent, tmp_path / "sub/a")
        changes = await watcher.changes()
        assert changes[:2] == [("sub", CREATE), ("sub", CHMOD)]
        assert changes.count(("sub/a", CREATE)) == 1
        assert changes.count(("sub/a", WRITE)) == 1


async def test_what_is_in_a_new_folder_before_it_can_be_watched(agent: Agent, tmp_path: Path) -> None:
    """The agent sleeps while the folder is filled: nothing of that was watched."""
    async with watching(agent, tmp_path, recursive=True) as watcher:
        with frozen(agent):
            (tmp_path / "a/b/c").mkdir(parents=True)
            (tmp_path / "a/b/c/full").write_text("x")
            (tmp_path / "a/b/empty").touch()
            os.mkfifo(tmp_path / "a/pipe")
        assert await watcher.changes() == [
            ("a", CREATE), ("a/b", CREATE), ("a/pipe", CREATE),
            ("a/b/c", CREATE), ("a/b/empty", CREATE),
            ("a/b/c/full", CREATE), ("a/b/c/full", WRITE),
        ]  # fmt: skip
        (tmp_path / "a/b/c/full").unlink()
        assert await watcher.changes() == [("a/b/c/full", REMOVE)]


@contextlib.contextmanager
def frozen(agent: Agent) -> Any:
    """Stop the agent's process; everything until the end of the block happens behind its back."""
    os.kill(agent.pid, 19)
    try:
        yield
    finally:
        os.kill(agent.pid, 18)


async def test_a_folder_moved_in_is_told_with_its_content(agent: Agent, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside/deep").mkdir(parents=True)
    (tmp_path / "outside/deep/a").write_text("x")
    async with watching(agent, root, recursive=True) as watcher:
        (tmp_path / "outside").rename(root / "in")
        assert await watcher.changes() == [
            ("in", CREATE), ("in/deep", CREATE), ("in/deep/a", CREATE), ("in/deep/a", WRITE)
        ]  # fmt: skip
        (root / "in/deep/a").write_text("y")
        assert set(await watcher.changes()) == {("in/deep/a", WRITE)}


async def test_a_folder_moved_within_keeps_being_watched(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "a/deep").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    async with watching(agent, tmp_path, recursive=True) as watcher:
        with frozen(agent):
            (tmp_path / "a").rename(tmp_path / "b/c")
            (tmp_path / "b/c/deep/x").touch()
        assert await watcher.changes() == [
            ("a", RENAME),
            ("b/c", CREATE),
            ("b/c/deep/x", CREATE),
        ]
        (tmp_path / "a").mkdir()
        (tmp_path / "a/y").mkdir()
        assert await watcher.changes() == [("a", CREATE), ("a/y", CREATE)]


async def test_a_folder_moved_out_is_not_watched_any_more(agent: Agent, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a/deep").mkdir(parents=True)
    async with watching(agent, root, recursive=True) as watcher:
        (root / "a").rename(tmp_path / "out")
        (tmp_path / "out/deep/x").touch()
        assert await watcher.changes() == [
            ("a", RENAME),
        ]
        (tmp_path / "out/deep/y").touch()
        assert await watcher.changes() == []


async def test_the_watched_folder_itself(agent: Agent, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    async with watching(agent, root) as watcher:
        root.chmod(0o700)
        assert await watcher.changes() == [(".", CHMOD)]
        (root / "a").touch()
        await agent.call(f"{SERVICE}/Remove", {"path": str(root)})
        changes = await watcher.changes()
        assert changes[0] == ("a", CREATE)
        assert changes[-2:] == [("a", REMOVE), (".", REMOVE)]


async def test_removing_a_nested_folder_is_told_once(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    async with watching(agent, tmp_path, recursive=True) as watcher:
        (tmp_path / "sub").rmdir()
        assert await watcher.changes() == [("sub", REMOVE)]


async def test_entries_are_told_where_they_are_wanted_and_there(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "gone").touch()
    async with watching(agent, tmp_path, includeEntry=True) as watcher, watching(agent, tmp_path) as plain:
        await write(agent, tmp_path / "a")
        (tmp_path / "gone").unlink()
        (tmp_path / "gone").write_text("replaced")
        events = await watcher.poll()
        assert [(event["type"], event.get("entry", {}).get("path")) for event in events[:4]] == [
            (CREATE, str(tmp_path / "a")),
            (CHMOD, str(tmp_path / "a")),
            (WRITE, str(tmp_path / "a")),
            (REMOVE, None),
        ]
        assert events[0]["entry"]["owner"] == "user"
        assert not any("entry" in event for event in await plain.poll())


async def test_two_watchers_of_one_folder_and_one_below(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    async with (
        watching(agent, tmp_path) as flat,
        watching(agent, tmp_path, recursive=True) as deep,
        watching(agent, tmp_path / "sub") as below,
    ):
        (tmp_path / "sub/a").mkdir()
        assert await flat.changes() == []
        assert await deep.changes() == [("sub/a", CREATE)]
        assert await below.changes() == [("a", CREATE)]
        await agent.call(f"{SERVICE}/RemoveWatcher", {"watcherId": deep.id})
        (tmp_path / "b").mkdir()
        (tmp_path / "sub/b").mkdir()
        assert await flat.changes() == [("b", CREATE)]
        assert await below.changes() == [("b", CREATE)]


async def test_one_instance_for_all_and_none_without_watchers(own_agent: Agent, tmp_path: Path) -> None:
    assert count_instances(own_agent) == 0
    async with watching(own_agent, tmp_path), watching(own_agent, "/etc"):
        assert count_instances(own_agent) == 1
    assert count_instances(own_agent) == 0


def count_instances(agent: Agent) -> int:
    count = 0
    for link in Path(f"/proc/{agent.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += "inotify" in str(link.readlink())
    return count


async def test_what_cannot_be_watched(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for method in ("CreateWatcher", "WatchDir"):
        for path, code in (
            (tmp_path / "missing", "not_found"),
            (tmp_path / "file", "invalid_argument"),
            (tmp_path / "file/below", "invalid_argument"),
            ("a\0b", "invalid_argument"),
            ("/" + "x" * 5000, "invalid_argument"),
            ("~other/x", "invalid_argument"),
        ):
            ask = agent.collect if method == "WatchDir" else agent.call
            with pytest.raises(RpcFailed) as failed:
                await ask(f"{SERVICE}/{method}", {"path": str(path)})
            assert failed.value.code == code, path


async def test_unknown_watchers(agent: Agent) -> None:
    for method in ("GetWatcherEvents", "RemoveWatcher"):
        with pytest.raises(RpcFailed, match="watcher with id nobody not found") as failed:
            await agent.call(f"{SERVICE}/{method}", {"watcherId": "nobody"})
        assert failed.value.code == "not_found"


async def test_a_stream_tells_from_its_start_event_on(agent: Agent, tmp_path: Path) -> None:
    async with agent.stream(f"{SERVICE}/WatchDir", {"path": str(tmp_path), "recursive": True}) as messages:
        assert await anext(messages) == {"start": {}}
        await write(agent, tmp_path / "sub/a")
        told = []
        while ("sub/a", WRITE) not in told:
            event = (await anext(messages))["filesystem"]
            told.append((event["name"], event["type"]))
        assert told[0] == ("sub", CREATE)
        assert told.count(("sub/a", CREATE)) == told.count(("sub/a", WRITE)) == 1


async def test_a_silent_stream_shows_that_it_lives_until_its_deadline(agent: Agent, tmp_path: Path) -> None:
    headers = {"Keepalive-Ping-Interval": "1", "Connect-Timeout-Ms": "1500"}
    started = asyncio.get_running_loop().time()
    async with agent.stream(f"{SERVICE}/WatchDir", {"path": str(tmp_path)}, headers) as stream:
        messages = [await anext(stream), await anext(stream)]
        with pytest.raises(RpcFailed) as failed:
            await anext(stream)
    assert messages == [{"start": {}}, {"keepalive": {}}]
    assert failed.value.code == "deadline_exceeded"
    assert 1.4 < asyncio.get_running_loop().time() - started < 3


async def test_a_stream_that_is_left_gives_its_watches_back(own_agent: Agent, tmp_path: Path) -> None:
    async with own_agent.stream(f"{SERVICE}/WatchDir", {"path": str(tmp_path)}) as messages:
        await anext(messages)
        assert count_instances(own_agent) == 1
    deadline = asyncio.get_running_loop().time() + 5
    while count_instances(own_agent) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)
    assert count_instances(own_agent) == 0


async def test_names_that_are_not_utf8(agent: Agent, tmp_path: Path) -> None:
    async with watching(agent, tmp_path, includeEntry=True) as watcher:
        Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xfe")).mkdir()
        (event,) = await watcher.poll()
        assert event["name"] == event["entry"]["name"] == "\ufffd\ufffd"


async def test_ten_thousand_files_are_all_told(agent: Agent, tmp_path: Path) -> None:
    async with watching(agent, tmp_path, recursive=True) as watcher:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", TEN_THOUSAND, str(tmp_path))
        assert await process.wait() == 0
        events = await watcher.changes()
    created = [name for name, kind in events if kind == CREATE]
    expected = {f"d{i}" for i in range(100)} | {f"d{i}/{j}" for i in range(100) for j in range(100)}
    assert len(created) == len(set(created))
    assert set(created) == expected
    written = {name for name, kind in events if kind == WRITE}
    assert written == {name for name in expected if "/" in name}


TEN_THOUSAND = """
import os, sys
for i in range(100):
    os.mkdir(f"{sys.argv[1]}/d{i}")
    for j in range(100):
        with open(f"{sys.argv[1]}/d{i}/{j}", "w") as file:
            file.write("x")
"""


async def test_a_kernel_queue_overflow_is_told_once(own_agent: Agent, tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"the kernel queues {limit} events here")
    async with watching(own_agent, tmp_path, recursive=True) as watcher:
        with frozen(own_agent):
            for i in range(limit + 10):
                (tmp_path / str(i)).touch()
            (tmp_path / "unseen").mkdir()
        with pytest.raises(RpcFailed, match="overflow") as failed:
            await watcher.poll()
        assert failed.value.code == "resource_exhausted"
        assert await watcher.changes() == []
        (tmp_path / "unseen/a").mkdir()
        assert await watcher.changes() == [("unseen/a", CREATE)]


async def test_an_overflow_ends_a_stream(own_agent: Agent, tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"the kernel queues {limit} events here")
    async with own_agent.stream(f"{SERVICE}/WatchDir", {"path": str(tmp_path)}) as messages:
        await anext(messages)
        with frozen(own_agent):
            for i in range(limit + 10):
                (tmp_path / str(i)).touch()
        with pytest.raises(RpcFailed, match="overflow") as failed:
            [one async for one in messages]
    assert failed.value.code == "resource_exhausted"


async def test_a_frozen_sandbox_does_not_use_up_the_deadline(own_agent: Agent, tmp_path: Path) -> None:
    headers = {"Connect-Timeout-Ms": "500"}
    async with own_agent.stream(f"{SERVICE}/WatchDir", {"path": str(tmp_path)}, headers) as messages:
        await anext(messages)
        await own_agent.control("POST", "/freeze")
        await asyncio.sleep(0.7)
        await own_agent.control("POST", "/unfreeze")
        (tmp_path / "a").mkdir()
        assert (await anext(messages))["filesystem"]["name"] == "a"
        with pytest.raises(RpcFailed) as failed:
            await anext(messages)
    assert failed.value.code == "deadline_exceeded"


@pytest.mark.usefixtures("_boxable")
async def test_network_mounts_have_to_be_allowed(tmp_path: Path) -> None:
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no FUSE here")
    with mount_fuse(tmp_path), run_agent() as agent:
        with pytest.raises(RpcFailed, match="network filesystem") as failed:
            await agent.call(f"{SERVICE}/CreateWatcher", {"path": str(tmp_path)})
        assert failed.value.code == "invalid_argument"
        async with watching(agent, tmp_path, allowNetworkMounts=True) as watcher:
            assert await watcher.changes() == []


def run_limited(limit: str, count: int) -> contextlib.AbstractContextManager[Agent]:
    """Run an agent whose kernel lets it have so few of what inotify needs."""
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"]).returncode:
        pytest.skip("no user namespaces here")
    script = f'echo {count} > /proc/sys/user/{limit}; exec "$@"'
    return run_agent(wrap=("unshare", "--user", "--map-root-user", "sh", "-c", script, "limited"))


@pytest.mark.usefixtures("_boxable")
async def test_too_few_instances(tmp_path: Path) -> None:
    with run_limited("max_inotify_instances", 0) as agent:
        for ask, method in ((agent.call, "CreateWatcher"), (agent.collect, "WatchDir")):
            with pytest.raises(RpcFailed, match="max_user_instances") as failed:
                await ask(f"{SERVICE}/{method}", {"path": str(tmp_path)})
            assert failed.value.code == "resource_exhausted"


@pytest.mark.usefixtures("_boxable")
async def test_too_few_watches(tmp_path: Path) -> None:
    for name in ("root/a/b/c", "other"):
        (tmp_path / name).mkdir(parents=True)
    with run_limited("max_inotify_watches", 3) as agent:
        async with watching(agent, tmp_path / "other") as other:
            with pytest.raises(RpcFailed, match="max_user_watches") as failed:
                await agent.call(f"{SERVICE}/CreateWatcher", {"path": str(tmp_path / "root"), "recursive": True})
            assert failed.value.code == "resource_exhausted"
            (tmp_path / "other/x").mkdir()
            assert await other.changes() == [("x", CREATE)]
            # What the refused one had is free again, and one that runs out later says so.
            async with watching(agent, tmp_path / "root/a", recursive=False):
                pass
            async with watching(agent, tmp_path / "other", recursive=True) as growing:
                for i in range(3):
                    (tmp_path / f"other/{i}").mkdir()
                with pytest.raises(RpcFailed, match="max_user_watches") as failed:
                    await growing.poll()
                assert failed.value.code == "resource_exhausted"
