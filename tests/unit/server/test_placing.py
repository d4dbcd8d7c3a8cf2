"""Where the files of a COPY step end up."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sandlot_server.builds import placing

ME = f"{os.getuid()}:{os.getgid()}"


def pack(folder: Path, files: dict[str, str], links: dict[str, str] | None = None, mode: str = "w:gz") -> Path:
    path = folder / "files.tar"
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1234567890
            archive.addfile(info, io.BytesIO(content.encode()))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


Put = Callable[..., None]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def run(archive: Path, source: str, target: str, owner: str = ME, mode: str = "") -> None:
        placing.place(str(archive), source, target, owner, mode, str(tmp_path / "work"), "root")

    (tmp_path / "work").mkdir()
    return run


def read_tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_a_file_gets_the_name_that_was_asked_for(tmp_path: Path, put: Put) -> None:
    put(pack(tmp_path, {"a/b.txt": "b"}), "a/b.txt", "new/name.txt")
    assert read_tree(tmp_path / "work") == {"new/name.txt": "b"}
    assert (tmp_path / "work/new/name.txt").stat().st_mtime == 1234567890


@pytest.mark.parametrize("compression", ["w", "w:gz"])
def test_a_file_goes_into_what_ends_with_a_slash(tmp_path: Path, put: Put, compression: str) -> None:
    put(pack(tmp_path, {"b.txt": "b"}, mode=compression), "b.txt", "new/")
    assert read_tree(tmp_path / "work") == {"new/b.txt": "b"}


def test_a_folder_is_merged_into_what_is_there(tmp_path: Path, put: Put) -> None:
    old = tmp_path / "work/app"
    (old / "sub").mkdir(parents=True)
    (old / "kept.txt").write_text("kept")
    (old / "sub/new.txt").write_text("old")
    (old / "elsewhere.txt").write_text("untouched")
    (old / "link.txt").symlink_to("elsewhere.txt")
    files = {"app/sub/new.txt": "new", "app/link.txt": "no link any more", "app/more/deep.txt": "deep"}
    put(pack(tmp_path, files), "app/*", "app")
    assert read_tree(old) == {
        "elsewhere.txt": "untouched",
        "kept.txt": "kept",
        "link.txt": "no link any more",
        "more/deep.txt": "deep",
        "sub/new.txt": "new",
    }


def test_links_to_folders_are_followed(tmp_path: Path, put: Put) -> None:
    (tmp_path / "work/real").mkdir()
    (tmp_path / "work/lib").symlink_to("real")
    put(pack(tmp_path, {"root/lib/x": "x"}), "root", ".")
    assert (tmp_path / "work/real/x").read_text() == "x"
    assert (tmp_path / "work/lib").is_symlink()


def test_links_stay_links(tmp_path: Path, put: Put) -> None:
    archive = pack(tmp_path, {"d/f": "f"}, {"d/good": "f", "d/broken": "nowhere"})
    put(archive, "d", "copy")
    assert read_tree(tmp_path / "work/copy") == {"broken": "-> nowhere", "f": "f", "good": "-> f"}
    put(archive, "d/broken", "alone")
    assert (tmp_path / "work/alone").readlink() == Path("nowhere")


def test_everything_from_the_root(tmp_path: Path, put: Put) -> None:
    put(pack(tmp_path, {"a": "1", "b/c": "2"}), ".", "all")
    assert (tmp_path / "work/all").stat().st_mode & 0o777 == 0o755
    assert read_tree(tmp_path / "work/all") == {"a": "1", "b/c": "2"}


def test_a_mode_holds_for_all_of_it(tmp_path: Path, put: Put) -> None:
    put(pack(tmp_path, {"d/e/f": "f"}), "d", "moded", mode="750")
    found = [tmp_path / "work/moded", tmp_path / "work/moded/e", tmp_path / "work/moded/e/f"]
    assert [oct(path.stat().st_mode & 0o777) for path in found] == ["0o750"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"owner": "nobody-of-this-name"}, "invalid user"),
        ({"mode": "u+x"}, "not octal"),
        ({"source": "missing"}, "source path does not exist"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, put: Put, options: dict[str, str], message: str) -> None:
    with pytest.raises(placing.PlacingError, match=message):
        put(pack(tmp_path, {"a": "a"}), **{"source": "a", "target": "x", **options})
    assert read_tree(tmp_path / "work") == {}


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_names_that_lead_out_of_the_archive(tmp_path: Path, put: Put, name: str) -> None:
    with pytest.raises(placing.PlacingError, match="outside"):
        put(pack(tmp_path, {name: "evil"}), ".", "x")


def test_something_that_is_no_archive(tmp_path: Path, put: Put) -> None:
    (tmp_path / "files.tar").write_bytes(b"no archive")
    with pytest.raises(placing.PlacingError, match="failed to extract"):
        put(tmp_path / "files.tar", "a", "x")


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("folder/*", "folder"),
        ("*.txt", "."),
        ("a/b*/c", "a"),
        ("a/b", "a/b"),
        (".", "."),
        ("/a", "a"),
        ("a/{b,c}", "a"),
    ],
)
def test_where_a_pattern_begins(source: str, folder: str) -> None:
    assert placing.cut_pattern(source) == folder


def test_as_a_program_it_says_what_is_wrong(tmp_path: Path) -> None:
    source = Path(placing.__file__).read_text()
    arguments = {"source": "a", "target": "b", "owner": ME, "mode": "", "workdir": str(tmp_path), "user": "root"}
    command = [sys.executable, "-I", "-S", "-c", source, json.dumps({"archive": str(tmp_path / "none"), **arguments})]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("failed to extract files")
