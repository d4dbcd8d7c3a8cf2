"""Hostile paths, requests and neighbours against /files: never a 500, and nothing touched but what is named."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.agent import Agent

CASES = settings(
    max_examples=int(os.environ.get("FUZZ_CASES", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
OCTETS = {"Content-Type": "application/octet-stream"}
CLIENTS_MISTAKES = (400, 401, 403, 404, 406, 416)

PARTS = st.one_of(
    st.sampled_from([b"..", b".", b"", b"~", b"~root", b"a", b"file", b"folder", b"pipe", b"loop", b"up", b"x" * 255]),
    st.sampled_from([b"x" * 256, b"\xff\xfe", b"\xed\xa0\x80", b"\0", b"\n", b"%2e", "é".encode(), b"\\", b" "]),
    st.binary(max_size=6),
)
PATHS = st.lists(PARTS, max_size=8).map(b"/".join) | st.sampled_from([b"a/" * 2500, b"x" * 5000])


@pytest.fixture(scope="module")
def maze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each, three levels down."""
    root = tmp_path_factory.mktemp("maze") / "outer" / "inner"
    root.mkdir(parents=True)
    (root / "file").write_text("content")
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("..")
    return root


def survey(top: Path) -> dict[bytes, tuple[int, int, int]]:
    """Return type, mode and owner of everything outside the maze that a request might reach by mistake."""
    found = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        for name in [*folders, *files]:
            info = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (info.st_mode, info.st_uid, info.st_size)
    return found


@CASES
@given(
    path=PATHS,
    headers=st.dictionaries(
        st.sampled_from(["Range", "If-None-Match", "Accept-Encoding"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    ),
)
async def test_fuzz_downloads(agent: Agent, maze: Path, path: bytes, headers: dict[str, str]) -> None:
    target = f"/files?username=user&path={quote(os.fsencode(maze) + b'/' + path)}"
    answer = await agent.request("GET", target, headers=headers)
    if answer.status not in (200, 206, 304, 412):
        assert answer.status in CLIENTS_MISTAKES, answer
        assert answer.status == 416 or answer.json["code"] == answer.status


@CASES
@given(path=PATHS)
async def test_fuzz_uploads_touch_what_they_name(agent: Agent, maze: Path, path: bytes) -> None:
    """Each in a new folder: what is made, and where, is what the system itself makes of the path."""
    base = os.path.join(os.fsencode(maze), b"base")
    os.mkdir(base)
    outside = survey(maze)
    try:
        full = base + b"/" + path
        answer = await agent.request("POST", f"/files?path={quote(full)}", b"x", OCTETS)
        assert answer.status in (200, *CLIENTS_MISTAKES), answer
        if answer.status == 200:
            assert Path(os.fsdecode(full)).read_bytes() == b"x"
        if not os.path.normpath(full).startswith(base + b"/"):
            return
        assert {name: what for name, what in survey(maze).items() if not name.startswith(base + b"/")} == outside
    finally:
        clean(maze)


def clean(maze: Path) -> None:
    import shutil

    for entry in os.scandir(os.fsencode(maze.parent)):
        if entry.name != b"inner":
            remove(entry)
    for entry in os.scandir(os.fsencode(maze)):
        if entry.name == b"base" or entry.name not in (b"file", b"folder", b"pipe", b"loop", b"up"):
            remove(entry)
    (maze / "file").write_text("content")
    shutil.rmtree(maze / "folder")
    (maze / "folder").mkdir()


def remove(entry: os.DirEntry[bytes]) -> None:
    import shutil

    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)


@CASES
@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from(["multipart/form-data; boundary=b", "application/octet-stream"]),
    coding=st.sampled_from(["gzip", "identity", "br", ""]),
)
async def test_fuzz_bodies(agent: Agent, tmp_path: Path, body: bytes, kind: str, coding: str) -> None:
    headers = {"Content-Type": kind, "Content-Encoding": coding}
    answer = await agent.request("POST", f"/files?path={tmp_path}/x", body, headers)
    assert answer.status in (200, 400)


@pytest.fixture
def swapping(tmp_path: Path) -> Iterator[Path]:
    """A name that is a file and a link to somebody else's secret in turn, as fast as can be."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    folder = tmp_path / "open"
    folder.mkdir()
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            (folder / "new").write_text("mine")
            os.rename(folder / "new", folder / "name")
            os.symlink(secret, folder / "new")
            os.rename(folder / "new", folder / "name")

    thread = threading.Thread(target=swap)
    thread.start()
    yield folder / "name"
    ended.set()
    thread.join()


async def test_owner_and_content_always_belong_to_one_file(agent: Agent, swapping: Path, tmp_path: Path) -> None:
    """Links are followed, as on E2B; but never is one file given away and another one written."""
    secret = tmp_path / "secret"
    for _ in range(200):
        os.chown(secret, 0, 0)
        secret.write_text("secret")
        answer = await agent.request("POST", f"/files?username=user&path={swapping}", b"written", OCTETS)
        assert answer.status == 200
        assert (secret.stat().st_uid == 1000) is (secret.read_text() == "written")


async def test_folders_are_not_given_away_through_links(agent: Agent, tmp_path: Path) -> None:
    """Whoever replaces a folder that is just being made by a link gets the link, not what it leads to."""
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    ended = threading.Event()

    def replace() -> None:
        while not ended.is_set():
            try:
                os.rmdir(tmp_path / "made")
                os.symlink(treasure, tmp_path / "made")
                os.unlink(tmp_path / "made")
            except OSError:
                continue

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for i in range(200):
            await agent.request("POST", f"/files?username=user&path={tmp_path}/made/{i}/x", b"x", OCTETS)
            assert treasure.stat().st_uid == 0
    finally:
        ended.set()
        thread.join()


async def test_hundred_uploads_at_once(agent: Agent, tmp_path: Path) -> None:
    async def put(i: int) -> int:
        body = os.urandom(i * 1000)
        answer = await agent.request("POST", f"/files?path={tmp_path}/{i % 10}/{i}", body, OCTETS)
        assert (tmp_path / str(i % 10) / str(i)).read_bytes() == body
        return answer.status

    assert set(await asyncio.gather(*(put(i) for i in range(100)))) == {200}
