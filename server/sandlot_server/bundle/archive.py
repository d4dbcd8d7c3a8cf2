"""The file that a bundle is: a plain tar archive whose last member says what is in the others, with their digests."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from sandlot_server.errors import BundleError

MANIFEST = "bundle.json"
FORMAT = 1
BLOCK = 512
CHUNK = 1 << 20


class BundleWriter:
    """Writes members of unknown length, one after the other; the file gets its name once it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f"{path.name}.part")
        self._file = self._draft.open("wb")
        self._digests: dict[str, dict[str, Any]] = {}

    def add(self, name: str, chunks: Iterable[bytes]) -> None:
        """Append a member; raises OSError when the disk is full."""
        start = self._file.tell()
        self._file.write(_make_header(name, 0))
        size, digest = 0, sha256()
        for chunk in chunks:
            self._file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        self._file.write(bytes(-size % BLOCK))
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(_make_header(name, size))
        self._file.seek(end)
        self._digests[name] = {"sha256": digest.hexdigest(), "size": size}

    def finish(self, manifest: dict[str, Any]) -> None:
        """Append the manifest and give the file its name."""
        content = json.dumps({"format": FORMAT, **manifest, "files": dict(self._digests)}, indent=1).encode()
        self.add(MANIFEST, [content])
        self._file.write(bytes(2 * BLOCK))
        self._file.close()
        self._draft.rename(self._path)

    def discard(self) -> None:
        """Leave nothing behind, unless the bundle is finished."""
        self._file.close()
        self._draft.unlink(missing_ok=True)


def _make_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    # As long for any size, which is written once it is known.
    return info.tobuf(tarfile.GNU_FORMAT)


class Bundle:
    """A bundle that was verified from beginning to end."""

    def __init__(self, path: Path, archive: tarfile.TarFile, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._archive = archive

    @property
    def names(self) -> list[str]:
        """The members, in their order, without the manifest."""
        return list(self.manifest["files"])

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of a member; raises BundleError when there is none of this name."""
        if name not in self.manifest["files"]:
            raise BundleError(f"{self.path} has no {name}")
        with _open_member(self._archive, name) as file:
            yield from _read(file)


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle whose every byte is as it was saved; raises BundleError otherwise."""
    try:
        with tarfile.open(path, "r:") as archive:
            manifest = _read_manifest(path, archive)
            for name, expected in manifest["files"].items():
                _verify(path, archive, name, expected)
            yield Bundle(path, archive, manifest)
    except (tarfile.TarError, EOFError) as error:
        raise BundleError(f"{path} is no bundle, or was cut off: {error}") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error


def _read_manifest(path: Path, archive: tarfile.TarFile) -> dict[str, Any]:
    if MANIFEST not in archive.getnames():
        raise BundleError(f"{path} is no bundle, or was cut off: it has no {MANIFEST}")
    with _open_member(archive, MANIFEST) as file:
        manifest: dict[str, Any] = json.load(file)
    if manifest.get("format") != FORMAT:
        raise BundleError(f"{path} was written by another version of Sandlot (format {manifest.get('format')})")
    return manifest


def _verify(path: Path, archive: tarfile.TarFile, name: str, expected: dict[str, Any]) -> None:
    digest = sha256()
    try:
        with _open_member(archive, name) as file:
            for chunk in _read(file):
                digest.update(chunk)
    except KeyError as error:
        raise BundleError(f"{path} is damaged: {name} is missing") from error
    if digest.hexdigest() != expected["sha256"]:
        raise BundleError(f"{path} is damaged: {name} is not what was saved")


def _open_member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise BundleError(f"{name} is not a file in the bundle")
    return file


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
