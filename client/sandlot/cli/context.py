"""The files of COPY steps: found below a folder, named by a hash of what they are, packed for the server."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from sandlot.exceptions import InvalidArgumentException

IGNORE_FILE = ".dockerignore"
PIECE = 1 << 20
WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Context:
    """A folder, without what its `.dockerignore` names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        ignore = self._folder / IGNORE_FILE
        lines = ignore.read_text().splitlines() if ignore.exists() else []
        patterns = [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]
        self._rules = [(not one.startswith("!"), _compile(one.lstrip("!"))) for one in patterns]

    def find(self, source: str) -> list[Path]:
        """Return what a COPY source means, folders with all that is in them, in a fixed order.

        Raises InvalidArgumentException when it leads out of the folder, or means nothing.
        """
        pattern = source.strip("/") or "."
        if ".." in PurePosixPath(pattern).parts:
            raise InvalidArgumentException(f"'{source}' leads out of the folder")
        roots = [self._folder] if pattern == "." else sorted(self._folder.glob(pattern))
        found = {path for root in roots for path in (root, *self._walk(root)) if not self._ignores(path)}
        found.discard(self._folder)
        if not found:
            raise InvalidArgumentException(f"'{source}' matches no file in {self._folder}")
        return sorted(found)

    def hash(self, paths: list[Path], *args: str) -> str:
        """A name for these files and these arguments; the same files give the same name, whenever they were made."""
        digest = hashlib.sha256("\0".join(args).encode())
        for path in paths:
            mode = path.lstat().st_mode
            digest.update(f"\0{self._name(path)}\0{mode:o}\0".encode())
            if path.is_symlink():
                digest.update(str(path.readlink()).encode())
            elif path.is_file():
                digest.update(_digest(path))
        return digest.hexdigest()

    @contextmanager
    def pack(self, paths: list[Path]) -> Iterator[IO[bytes]]:
        """Have a compressed archive of files, open at its beginning, for the length of a block."""
        with tempfile.TemporaryFile() as file:
            with (
                gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w|") as archive,
            ):
                for path in paths:
                    archive.add(path, self._name(path), recursive=False)
            file.seek(0)
            yield file

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _walk(self, root: Path) -> Iterator[Path]:
        if root.is_dir() and not root.is_symlink():
            yield from root.rglob("*")

    def _ignores(self, path: Path) -> bool:
        name, ignored = self._name(path), False
        for hides, pattern in self._rules:
            if pattern.match(name):
                ignored = hides
        return ignored


def _compile(pattern: str) -> re.Pattern[str]:
    """A pattern that means a name and all below it: `*` stays within a folder, `**` goes through folders."""
    text = "".join(WILD.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))
    return re.compile(rf"{text}(?:/.*)?\Z", re.DOTALL)


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.digest()


def measure(file: IO[bytes]) -> int:
    """Return how many bytes there are from the file's beginning to its end."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size
