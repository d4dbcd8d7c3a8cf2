"""Files and folders by RPC, through a real agent."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from support.agent import Agent, RpcFailed, basic

USER = basic("user")


async def call(agent: Agent, method: str, headers: dict[str, str] | None = None, **message: Any) -> Any:
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in message.items()}
    return await agent.call(f"filesystem.Filesystem/{method}", plain, headers)


async def fails(agent: Agent, code: str, method: str, match: str | None = None, **message: Any) -> None:
    with pytest.raises(RpcFailed, match=match) as failed:
        await call(agent, method, **message)
    assert failed.value.code == code


async def list_names(agent: Agent, path: Path | str, depth: int = 1) -> list[str]:
    entries = (await call(agent, "ListDir", path=path, depth=depth))["entries"]
    return [os.path.relpath(entry["path"], path) for entry in entries]


async def test_stat(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    entry = (await call(agent, "Stat", path=tmp_path / "a"))["entry"]
    assert (entry["name"], entry["type"], entry["size"]) == ("a", "FILE_TYPE_FILE", "1")


async def test_stat_of_what_is_not_there(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    await fails(agent, "not_found", "Stat", "^.not_found. file not found: ", path=tmp_path / "missing")
    await fails(agent, "not_found", "Stat", path=tmp_path / "a/below")


@pytest.mark.parametrize("method", ["Stat", "ListDir", "MakeDir", "Remove"])
@pytest.mark.parametrize("path", ["a\0b", "/" + "x" * 5000, "~nobody", "~root/x", 5, ["a"]])
async def test_paths_that_cannot_be(agent: Agent, method: str, path: Any) -> None:
    await fails(agent, "invalid_argument", method, path=path)


async def test_nothing_is_made_of_a_path_that_is_too_long(agent: Agent, tmp_path: Path) -> None:
    long = f"{tmp_path}" + "/x" * 2500
    await fails(agent, "invalid_argument", "MakeDir", path=long)
    await fails(agent, "invalid_argument", "Stat", path=long)
    await fails(agent, "not_found", "ListDir", path=long)
    assert not (tmp_path / "x").exists()


async def test_paths_are_read_as_the_user_means_them(agent: Agent) -> None:
    (agent.home / "rel").mkdir()
    for path in ("rel", "~/rel", "rel/../rel", str(agent.home / "rel")):
        entry = (await call(agent, "Stat", USER, path=path))["entry"]
        assert entry["path"] == str(agent.home / "rel"), path
    assert (await call(agent, "Stat", USER, path=""))["entry"]["path"] == str(agent.home)
    assert (await call(agent, "Stat", USER, path="~"))["entry"]["path"] == str(agent.home)
    assert (await call(agent, "Stat", path=""))["entry"]["path"] == "/root"


async def test_an_empty_path_is_the_default_folder_but_relative_ones_are_below_the_home(own_agent: Agent) -> None:
    await own_agent.init(defaultUser="user", defaultWorkdir="/usr")
    assert (await call(own_agent, "Stat", path=""))["entry"]["path"] == "/usr"
    (own_agent.home / "bin").mkdir()
    assert (await call(own_agent, "Stat", path="bin"))["entry"]["path"] == str(own_agent.home / "bin")


async def test_an_unknown_user(agent: Agent) -> None:
    with pytest.raises(RpcFailed, match="invalid username: 'nobody-here'") as failed:
        await call(agent, "Stat", basic("nobody-here"), path="/")
    assert failed.value.code == "unauthenticated"


async def test_the_earliest_sdk_is_told_only_what_it_knows(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    legacy = {"User-Agent": "connect-python"}
    entry = {"name": "a", "type": "FILE_TYPE_FILE", "path": str(tmp_path / "a")}
    assert (await call(agent, "Stat", legacy, path=tmp_path / "a"))["entry"] == entry
    assert (await call(agent, "ListDir", legacy, path=tmp_path))["entries"] == [entry]
    moved = await call(agent, "Move", legacy, source=tmp_path / "a", destination=tmp_path / "b")
    assert moved["entry"] == {"name": "b", "type": "FILE_TYPE_FILE", "path": str(tmp_path / "b")}


# -- ListDir


async def test_order_and_depth(agent: Agent, tmp_path: Path) -> None:
    for folder in ("b/x/deep", "a", "a.d"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("b/x/1", "b/y", "Z", "ä", "a/in"):
        (tmp_path / file).touch()
    assert await list_names(agent, tmp_path) == ["Z", "a", "a.d", "b", "ä"]
    assert await list_names(agent, tmp_path, 0) == ["Z", "a", "a.d", "b", "ä"]
    assert await list_names(agent, tmp_path, 2) == ["Z", "a", "a/in", "a.d", "b", "b/x", "b/y", "ä"]
    assert await list_names(agent, tmp_path, 4_000_000_000) == [
        "Z", "a", "a/in", "a.d", "b", "b/x", "b/x/1", "b/x/deep", "b/y", "ä"
    ]  # fmt: skip


async def test_an_empty_folder(agent: Agent, tmp_path: Path) -> None:
    assert await list_names(agent, tmp_path) == []


async def test_depth_may_be_written_in_digits_but_not_below_zero(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert len((await call(agent, "ListDir", path=tmp_path, depth="2"))["entries"]) == 1
    for depth in (-1, "x", 1.5, 2**32):
        await fails(agent, "invalid_argument", "ListDir", path=tmp_path, depth=depth)


async def test_a_link_to_a_folder_is_followed_at_the_root_only(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/inner").symlink_to("sub")
    (tmp_path / "real/sub/a").touch()
    assert await list_names(agent, tmp_path / "link", 3) == ["inner", "sub", "sub/a"]
    entries = (await call(agent, "ListDir", path=tmp_path / "link"))["entries"]
    assert entries[0]["path"] == str(tmp_path / "link/inner")
    assert entries[0]["symlinkTarget"] == str(tmp_path / "real/sub")


async def test_a_link_to_the_root_folder(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    assert "etc" in await list_names(agent, tmp_path / "link")
    assert "etc" in await list_names(agent, "/")


async def test_what_cannot_be_listed(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    await fails(agent, "not_found", "ListDir", path=tmp_path / "missing")
    await fails(agent, "not_found", "ListDir", path=tmp_path / "file/below")
    await fails(agent, "invalid_argument", "ListDir", "path is not a directory: ", path=tmp_path / "file")
    await fails(agent, "failed_precondition", "ListDir", "cyclic", path=tmp_path / "one")


async def test_a_folder_deeper_than_paths_go(agent: Agent, tmp_path: Path) -> None:
    """Made step by step: its innermost part has no absolute path."""
    make_deep(tmp_path, 2100)
    names = await list_names(agent, tmp_path, 4000)
    assert 1900 < len(names) < 2100
    await call(agent, "Remove", path=tmp_path / "d")
    assert await list_names(agent, tmp_path) == []


def make_deep(root: Path, depth: int) -> None:
    fd = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        following = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = following
    os.close(fd)


# -- MakeDir


async def test_making_a_folder_makes_its_parents_for_the_user(agent: Agent, tmp_path: Path) -> None:
    entry = (await call(agent, "MakeDir", USER, path=tmp_path / "a/b/c"))["entry"]
    assert (entry["type"], entry["permissions"]) == ("FILE_TYPE_DIRECTORY", "drwxr-xr-x")
    for folder in ("a", "a/b", "a/b/c"):
        info = (tmp_path / folder).stat()
        assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (1000, 1000, 0o755)
    assert tmp_path.stat().st_uid == 0


async def test_what_cannot_be_made(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("missing")
    await fails(agent, "already_exists", "MakeDir", path=tmp_path)
    await fails(agent, "invalid_argument", "MakeDir", path=tmp_path / "file")
    await fails(agent, "internal", "MakeDir", path=tmp_path / "file/below")
    await fails(agent, "internal", "MakeDir", path=tmp_path / "broken")


# -- Move


async def test_moving_makes_parents_and_replaces_files(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    entry = (await call(agent, "Move", source=tmp_path / "a", destination=tmp_path / "b"))["entry"]
    assert entry["path"] == str(tmp_path / "b")
    assert (tmp_path / "b").read_text() == "new"
    await call(agent, "Move", USER, source=tmp_path / "b", destination=tmp_path / "new/deep/c")
    assert (tmp_path / "new/deep/c").read_text() == "new"
    assert (tmp_path / "new/deep").stat().st_uid == 1000


async def test_what_cannot_be_moved(agent: Agent, tmp_path: Path) -> None:
    for folder in ("full/x", "other"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "file").touch()
    await fails(agent, "not_found", "Move", "source file not found", source=tmp_path / "no", destination=tmp_path / "x")
    assert not (tmp_path / "x").exists()
    await fails(agent, "internal", "Move", source=tmp_path / "other", destination=tmp_path / "full")
    await fails(agent, "internal", "Move", source=tmp_path / "full", destination=tmp_path / "full/x/y")
    await fails(agent, "not_found", "Move", source=tmp_path / "other", destination=tmp_path / "file/below")
    await fails(agent, "invalid_argument", "Move", source=tmp_path / "other", destination="/" + "x" * 5000)


async def test_a_broken_link_can_be_moved(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("missing")
    await call(agent, "Move", source=tmp_path / "a", destination=tmp_path / "b")
    assert (tmp_path / "b").is_symlink()


# -- Remove


async def test_removing(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep/a").touch()
    for folder in ("full/a/b", "full/c"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "full/a/file").touch()
    (tmp_path / "full/link").symlink_to(tmp_path / "keep")
    (tmp_path / "link").symlink_to(tmp_path / "keep")
    (tmp_path / "broken").symlink_to("missing")
    for name in ("full", "link", "broken", "missing", "keep/a/below"):
        assert await call(agent, "Remove", path=tmp_path / name) == {}
    assert await list_names(agent, tmp_path, 2) == ["keep", "keep/a"]


@pytest.mark.parametrize("path", ["/", "//", "/tmp/.", "/tmp/x/..", "/.."])
async def test_what_is_not_removed(agent: Agent, path: str) -> None:
    await fails(agent, "invalid_argument", "Remove", path=path)


async def test_what_nobody_may_remove_stays(agent: Agent) -> None:
    await fails(agent, "permission_denied", "Remove", path="/proc/sys/kernel")


async def test_ten_thousand_entries(agent: Agent, tmp_path: Path) -> None:
    for i in range(10_000):
        (tmp_path / f"{i:05}").touch()
    assert await list_names(agent, tmp_path) == [f"{i:05}" for i in range(10_000)]
    await call(agent, "Remove", path=tmp_path)
    assert not tmp_path.exists()


async def test_a_folder_that_is_filled_while_it_is_removed_fails_or_goes(agent: Agent, tmp_path: Path) -> None:
    """Whatever the outcome, it is an answer, and nothing outside is touched."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    script = f"for i in $(seq 300); do mkdir -p {root}/a/b; touch {root}/a/b/$i; ln -sfn {outside} {root}/a/c; done"
    process = await asyncio.create_subprocess_exec("sh", "-c", script, stderr=asyncio.subprocess.DEVNULL)
    codes = set()
    while process.returncode is None:
        try:
            await call(agent, "Remove", path=root)
        except RpcFailed as failed:
            codes.add(failed.code)
        await asyncio.sleep(0)
    assert codes <= {"internal", "failed_precondition"}
    assert (outside / "keep").exists()
