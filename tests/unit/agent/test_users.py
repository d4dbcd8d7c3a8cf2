"""Users from files that may hold anything, and paths as clients write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandlot_envd import users
from sandlot_envd.errors import BadRequest, Unauthenticated
from sandlot_envd.paths import resolve
from sandlot_envd.users import Names, User, find_user

CASES = settings(max_examples=int(os.environ.get("FUZZ_CASES", "200")), deadline=None)
ANN = User("ann", 1000, 1000, "/home/ann", [1000])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(users, "PASSWD", str(tmp_path / "passwd"))
    monkeypatch.setattr(users, "GROUP", str(tmp_path / "group"))
    return tmp_path


def test_a_user_with_groups(files: Path) -> None:
    (files / "passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nann:x:7:8::/home/ann:/bin/sh\nann:x:9:9::/second:/bin/sh\n"
    )
    (files / "group").write_text("ann:x:8:\naudio:x:29:bob,ann\nother:x:30:anna\n")
    ann = find_user("ann")
    assert (ann.uid, ann.gid, ann.home, ann.groups) == (7, 8, "/home/ann", [8, 29])
    names = Names()
    assert (names.of_user(7), names.of_group(29), names.of_user(12)) == ("ann", "audio", "12")


def test_an_image_without_users_has_root(files: Path) -> None:
    root = find_user("root")
    assert (root.uid, root.home) == (0, "/")
    with pytest.raises(Unauthenticated, match="invalid username: 'ann'"):
        find_user("ann")


def test_files_that_are_no_files_keep_nobody_waiting(files: Path) -> None:
    os.mkfifo(files / "passwd")
    (files / "group").mkdir()
    assert find_user("root").uid == 0
    assert Names().of_user(0) == "0"


@pytest.mark.parametrize(
    "line", ["ann", "ann:x:1", "ann:x:²:1::/:", "ann:x:-1:1::/:", "ann:x:4294967295:1::/:", "ann:x:99999999999:1::/:"]
)
def test_lines_that_are_no_users(files: Path, line: str) -> None:
    (files / "passwd").write_text(line + "\n")
    with pytest.raises(Unauthenticated):
        find_user("ann")


def test_fuzz_user_files(files: Path) -> None:
    @CASES
    @given(passwd=st.binary(max_size=200), group=st.binary(max_size=200), name=st.text(max_size=5))
    def attack(passwd: bytes, group: bytes, name: str) -> None:
        (files / "passwd").write_bytes(b"ann:x:1:1::/:\n" + passwd)
        (files / "group").write_bytes(group)
        try:
            found = find_user(name)
        except Unauthenticated:
            return
        assert found.name == name
        assert 0 <= found.uid < 2**32 - 1

    attack()


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("", "/work"),
        ("~", "/home/ann"),
        ("~/a/../b", "/home/ann/b"),
        ("a", "/home/ann/a"),
        ("./a/../../b", "/home/b"),
        ("/a/../b//c", "/a/../b//c"),
        ("a~", "/home/ann/a~"),
    ],
)
def test_paths(path: str, resolved: str) -> None:
    assert resolve(path, ANN, "/work") == resolved


def test_the_home_is_where_nothing_else_is_said() -> None:
    assert resolve("", ANN) == "/home/ann"


@pytest.mark.parametrize("path", ["~bob", "~bob/x", "a\0b", "/\0"])
def test_paths_that_mean_nothing(path: str) -> None:
    with pytest.raises(BadRequest):
        resolve(path, ANN)


@CASES
@given(path=st.text(max_size=40))
def test_property_paths_are_absolute_or_refused(path: str) -> None:
    try:
        assert resolve(path, ANN).startswith("/")
    except BadRequest:
        assert "\0" in path or path.startswith("~")
