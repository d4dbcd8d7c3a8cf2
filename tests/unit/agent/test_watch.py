"""Watching folders through a real agent, by stream and by polling."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from support.agent import Agent, RpcFailed
from support.watching import CHMOD, CREATE, REMOVE, RENAME, SERVICE, WRITE, frozen, watching, write


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
