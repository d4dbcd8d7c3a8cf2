"""More of Stat, ListDir, MakeDir, Move and Remove: odd paths, busy neighbours, the binary codec."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from support.agent import Agent, basic

USER = basic("user")


async def call(agent: Agent, method: str, **message: Any) -> Any:
    texts = {name: str(value) if isinstance(value, Path) else value for name, value in message.items()}
    return await agent.call(f"filesystem.Filesystem/{method}", texts, USER)


async def list_names(agent: Agent, path: Path | str, depth: int = 1) -> list[str]:
    answer = await call(agent, "ListDir", path=path, depth=depth)
    return [os.path.relpath(entry["path"], path) for entry in answer["entries"]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b/bb/bbb", "a/aa", "a.d"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("c", "a/file", "b/bb/deep", "B"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a")
    return tmp_path


async def test_a_linked_folder_is_listed_under_its_own_name(agent: Agent, tree: Path) -> None:
    answer = await call(agent, "ListDir", path=tree / "link", depth=2)
    assert [entry["path"] for entry in answer["entries"]] == [str(tree / "link/aa"), str(tree / "link/file")]
    answer = await call(agent, "ListDir", path=f"{tree}/b/../link/")
    assert [entry["path"] for entry in answer["entries"]] == [str(tree / "link/aa"), str(tree / "link/file")]


async def test_the_root_is_listed(agent: Agent) -> None:
    for path in ("/", "//", "/usr/.."):
        answer = await call(agent, "ListDir", path=path)
        assert "/usr" in [entry["path"] for entry in answer["entries"]]


async def test_a_list_while_files_come_and_go(agent: Agent, tmp_path: Path) -> None:
    ended = threading.Event()

    def churn() -> None:
        while not ended.is_set():
            for i in range(50):
                (tmp_path / f"d{i}").mkdir()
                (tmp_path / f"d{i}" / "x").touch()
            for i in range(50):
                (tmp_path / f"d{i}" / "x").unlink()
                (tmp_path / f"d{i}").rmdir()

    (tmp_path / "stays").touch()
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(50):
            assert (await list_names(agent, tmp_path, 3))[-1] == "stays"
    finally:
        ended.set()
        thread.join()


async def test_move(agent: Agent, tree: Path) -> None:
    os.setxattr(tree / "c", "user.e2b.a", b"b")
    inode = (tree / "c").stat().st_ino
    entry = (await call(agent, "Move", source=tree / "c", destination=tree / "new/d"))["entry"]
    assert (entry["path"], entry["metadata"]) == (str(tree / "new/d"), {"a": "b"})
    assert ((tree / "new/d").stat().st_ino, (tree / "new").stat().st_uid) == (inode, 1000)
    await call(agent, "Move", source=tree / "new/d", destination=tree / "B")
    assert (tree / "B").read_text() == "c"
    await call(agent, "Move", source=tree / "a", destination=tree / "moved")
    assert (tree / "moved/file").read_text() == "a/file"
    await call(agent, "Move", source=tree / "link", destination=tree / "link2")
    assert os.readlink(tree / "link2") == "a"


async def test_many_entries_do_not_hold_up_others(agent: Agent, tmp_path: Path) -> None:
    for i in range(1500):
        (tmp_path / f"{i:05}").touch()
    listing = asyncio.create_task(call(agent, "ListDir", path=tmp_path))
    slowest = 0.0
    while not listing.done():
        started = asyncio.get_running_loop().time()
        await agent.request("GET", "/health")
        slowest = max(slowest, asyncio.get_running_loop().time() - started)
    assert len((await listing)["entries"]) == 1500
    assert slowest < 0.5
    await call(agent, "Remove", path=tmp_path)
    assert not tmp_path.exists()


async def test_in_binary(agent: Agent, tree: Path) -> None:
    from sandlot_protocol.filesystem.filesystem_pb import ListDirRequest, ListDirResponse

    os.setxattr(tree / "c", "user.e2b.a", b"b")
    body = ListDirRequest(path=str(tree), depth=1).to_binary()
    headers = {"Content-Type": "application/proto"}
    answer = await agent.request("POST", "/filesystem.Filesystem/ListDir", body, headers)
    assert answer.status == 200
    entries = {entry.name: entry for entry in ListDirResponse.from_binary(answer.body).entries}
    assert entries["c"].size == 1
    assert entries["c"].mode == 0o644
    assert entries["c"].metadata == {"a": "b"}
    assert entries["link"].symlink_target == str(tree / "a")
    assert entries["c"].modified_time is not None
