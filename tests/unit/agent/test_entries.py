"""What is told of one entry: modes, times and links as E2B's agent, written in Go, tells them."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from sandlot_envd.filesystem.entries import describe, format_mode, format_time
from sandlot_envd.users import Names


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        (stat.S_IFREG | 0o644, "-rw-r--r--"),
        (stat.S_IFDIR | 0o755, "drwxr-xr-x"),
        (stat.S_IFLNK | 0o777, "Lrwxrwxrwx"),
        (stat.S_IFDIR | 0o1777, "dtrwxrwxrwx"),
        (stat.S_IFBLK | 0o660, "Drw-rw----"),
        (stat.S_IFCHR | 0o666, "Dcrw-rw-rw-"),
        (stat.S_IFCHR | 0o4666, "Ducrw-rw-rw-"),
        (stat.S_IFIFO | 0o600, "prw-------"),
        (stat.S_IFSOCK | 0o755, "Srwxr-xr-x"),
        (stat.S_IFREG | 0o4755, "urwxr-xr-x"),
        (stat.S_IFREG | 0o2755, "grwxr-xr-x"),
        (stat.S_IFREG | 0o6755, "ugrwxr-xr-x"),
        (stat.S_IFREG, "----------"),
    ],
)
def test_permissions_are_shown_as_go_does(mode: int, shown: str) -> None:
    assert format_mode(mode) == shown


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (10**30, "9999-12-31T23:59:59.000000000Z"),
        (-(10**30), "0001-01-01T00:00:00.000000000Z"),
    ],
)
def test_times_are_within_what_a_timestamp_holds(nanoseconds: int, shown: str) -> None:
    assert format_time(nanoseconds) == shown


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a b"
    path.write_text("12345")
    path.chmod(0o640)
    os.utime(path, ns=(0, 1_700_000_000_000_000_001))
    assert describe(str(path), Names()) == {
        "name": "a b",
        "path": str(path),
        "type": "FILE_TYPE_FILE",
        "size": "5",
        "mode": 0o640,
        "permissions": "-rw-r-----",
        "owner": "root",
        "group": "root",
        "modifiedTime": "2023-11-14T22:13:20.000000001Z",
    }


def test_owners_without_a_name_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    os.chown(path, 54321, 54322)
    entry = describe(str(path), Names())
    assert (entry["owner"], entry["group"]) == ("54321", "54322")


def test_a_link_has_its_own_permissions_and_its_targets_mode_and_type(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o750)
    (tmp_path / "first").symlink_to("folder")
    (tmp_path / "second").symlink_to(tmp_path / "first")
    entry = describe(str(tmp_path / "second"), Names())
    assert entry["type"] == "FILE_TYPE_DIRECTORY"
    assert entry["mode"] == 0o750
    assert entry["permissions"] == "Lrwxrwxrwx"
    assert entry["symlinkTarget"] == str(tmp_path / "folder")
    assert "isSymlink" not in entry


@pytest.mark.parametrize("target", ["missing", "broken"])
def test_a_broken_or_circular_link_is_its_own_target(tmp_path: Path, target: str) -> None:
    link = tmp_path / "broken"
    link.symlink_to(target)
    entry = describe(str(link), Names())
    assert (entry["type"], entry["mode"]) == ("FILE_TYPE_UNSPECIFIED", 0)
    assert entry["symlinkTarget"] == str(link)


def test_devices_pipes_and_sockets_have_no_type(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        assert describe(str(path), Names())["type"] == "FILE_TYPE_UNSPECIFIED"
    assert describe("/dev/null", Names())["permissions"].startswith("Dc")


@pytest.mark.parametrize(("path", "name"), [("/", "/"), ("/usr/", "usr"), ("/usr//", "usr"), ("/usr/.", ".")])
def test_names_of_folders_by_odd_paths(path: str, name: str) -> None:
    entry = describe(path, Names())
    assert (entry["name"], entry["path"]) == (name, path)


def test_metadata_is_e2bs_own_attributes_that_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    try:
        os.setxattr(path, "user.e2b.author", "ünï".encode())
    except OSError:
        pytest.skip("no extended attributes here")
    os.setxattr(path, "user.other", b"x")
    os.setxattr(path, "user.e2b.binary", b"\xff\xfe")
    assert describe(str(path), Names())["metadata"] == {"author": "ünï"}
    os.removexattr(path, "user.e2b.author")
    assert "metadata" not in describe(str(path), Names())


def test_names_that_are_not_utf8_are_shown_with_replacements(tmp_path: Path) -> None:
    raw = bytes(tmp_path) + b"/a\xff"
    Path(os.fsdecode(raw)).touch()
    entry = describe(os.fsdecode(raw), Names())
    assert entry["name"] == "a\ufffd"
    assert entry["path"] == f"{tmp_path}/a\ufffd"


def test_permissions_agree_with_ls(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    for mode in (0o000, 0o777, 0o421, 0o124):
        path.chmod(mode)
        listed = subprocess.run(["ls", "-ld", str(path)], capture_output=True, text=True, check=True).stdout.split()[0]
        assert describe(str(path), Names())["permissions"] == listed.rstrip(".+")
