"""The files of COPY steps: found below a folder, named by a hash of what they are, packed for the server."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from .exceptions import InvalidArgumentException, TemplateException

IGNORE_FILE = ".dockerignore"
PIECE = 1 << 20
WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Context:
    """A folder, without what its `.dockerignore`, and patterns as in one, name."""

    def __init__(self, folder: Path, ignore: Iterable[str] = ()) -> None:
        self._folder = folder.resolve()
        file = self._folder / IGNORE_FILE
        lines = [*(file.read_text(encoding="utf-8-sig").splitlines() if file.exists() else []), *ignore]
        patterns = [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]
        self._rules = [(not one.startswith("!"), _compile(one.lstrip("!"))) for one in patterns]

    def find(self, source: str, *, follow: bool = False) -> list[Path]:
        """Return what a COPY source means, folders with all that is in them, in a fixed order.

        `follow`: links count as what they lead to. Raises TemplateException when the source leads out of the folder,
        InvalidArgumentException when it means nothing.
        """
        pattern = check_source(source)
        roots = [self._folder] if pattern == "." else sorted(self._folder.glob(pattern))
        found = {path for root in roots for path in (root, *self._walk(root, follow)) if not self._ignores(path)}
        found.discard(self._folder)
        if not found:
            raise InvalidArgumentException(f"'{source}' matches no file in {self._folder}")
        return sorted(found)

    def hash(self, paths: list[Path], *args: str, follow: bool = False) -> str:
        """A name for these files and these arguments; the same files give the same name, whenever they were made."""
        digest = hashlib.sha256("\0".join(args).encode())
        for path in paths:
            digest.update(f"\0{self._name(path)}\0{_stat(path, follow).st_mode:o}\0".encode())
            if path.is_symlink() and not follow:
                digest.update(str(path.readlink()).encode())
            elif path.is_file():
                digest.update(_digest(path))
        return digest.hexdigest()

    def pack(self, paths: list[Path], *, follow: bool = False, compress: bool = True) -> IO[bytes]:
        """Return an archive of files, open at its beginning; it is gone when closed."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 - handed on
        try:
            if compress:
                with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
                    self._write(packed, paths, follow)
            else:
                self._write(file, paths, follow)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def _write(self, file: IO[bytes] | gzip.GzipFile, paths: list[Path], follow: bool) -> None:
        with tarfile.open(fileobj=file, mode="w|", dereference=follow) as archive:
            for path in paths:
                archive.add(path, self._name(path), recursive=False)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _walk(self, root: Path, follow: bool) -> Iterator[Path]:
        if not root.is_dir() or (root.is_symlink() and not follow):
            return
        if root.is_symlink() and root.parent.resolve().is_relative_to(root.resolve()):
            raise InvalidArgumentException(f"'{self._name(root)}' is a link that leads back to where it is")
        for path in root.iterdir():
            yield path
            yield from self._walk(path, follow)

    def _ignores(self, path: Path) -> bool:
        name, ignored = self._name(path), False
        for hides, pattern in self._rules:
            if pattern.match(name):
                ignored = hides
        return ignored


def check_source(source: str) -> str:
    """Return a COPY source in its shortest form; raises TemplateException when it leads out of the folder."""
    pattern = posixpath.normpath(source)
    if posixpath.isabs(pattern) or pattern.split("/")[0] == "..":
        raise TemplateException(f"'{source}' leads out of the folder that is copied from")
    return pattern


def _stat(path: Path, follow: bool) -> os.stat_result:
    try:
        return path.stat(follow_symlinks=follow)
    except FileNotFoundError as error:
        raise InvalidArgumentException(f"'{path}' leads to nothing") from error


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
