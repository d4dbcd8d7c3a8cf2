"""Writing one file as it streams in: in place, owned by the user, its metadata replaced."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncIterator

from sandlot_envd import disk
from sandlot_envd.errors import BadRequest, translate
from sandlot_envd.filesystem.folders import make_folders
from sandlot_envd.users import User
from sandlot_envd.xattrs import read_metadata, replace_metadata

BUFFER = 1024 * 1024
"""Bytes gathered before a write: a smaller file is written at once, which watchers see as one event."""

INLINE = 64 * 1024
"""Up to here a write takes less time than handing it to a thread does."""

_FLAGS = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


async def write_file(path: str, body: AsyncIterator[bytes], user: User, metadata: dict[str, str]) -> dict[str, str]:
    """Write `body` to `path`, owned by `user`, with `metadata` and no other; return the metadata that it has then.

    What is there already keeps its mode and its identity. Raises AgentError; what arrived before a failure stays
    written, as on E2B.
    """
    fd = open_file(path, user)
    try:
        await _copy(body, fd)
        replace_metadata(fd, metadata)
        return read_metadata(fd)
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise  # the client's own connection, not the disk
        raise translate(error, f"error writing file '{path}'") from error
    finally:
        os.close(fd)


def open_file(path: str, user: User) -> int:
    """Open `path` for writing, emptied, its missing parents made. Raises AgentError.

    The owner is set before the first byte, and on the descriptor: watchers see one order of events, and nobody can
    put another file in the way between the steps.
    """
    try:
        _make_parents(path, user)
        return _open(path, user)
    except OSError as error:
        raise translate(error, f"error opening file '{path}'") from error


def _make_parents(path: str, user: User) -> None:
    parent = os.path.dirname(path.rstrip("/")) or "/"
    try:
        make_folders(parent, user)
    except NotADirectoryError as error:
        raise BadRequest(f"a part of '{parent}' is a file") from error


def _open(path: str, user: User) -> int:
    fd = _open_existing(path)
    existed = fd is not None
    if fd is None:
        fd = os.open(path, _FLAGS | os.O_CREAT, 0o666)
    try:
        info = os.fstat(fd)
        _require_file(path, info)
        if stat.S_ISREG(info.st_mode):
            os.fchown(fd, user.uid, user.gid)
            if existed or info.st_size:
                os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_existing(path: str) -> int | None:
    """Open what is there; None when nothing is. Pipes are not even opened: their readers would notice."""
    try:
        _require_file(path, os.stat(path))
        return os.open(path, _FLAGS)
    except FileNotFoundError:
        if path.endswith("/"):
            raise BadRequest(f"path is a directory: {path}") from None
        return None


def _require_file(path: str, info: os.stat_result) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise BadRequest(f"path is a directory: {path}")
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISCHR(info.st_mode):
        raise BadRequest(f"path is not a regular file: {path}")


async def _copy(body: AsyncIterator[bytes], fd: int) -> None:
    buffer = bytearray()
    try:
        async for data in body:
            buffer += data
            if len(buffer) >= BUFFER:
                full, buffer = buffer, bytearray()
                await disk.work(_write_all, fd, full)
    except BaseException:
        with contextlib.suppress(OSError):
            _write_all(fd, buffer)
        raise
    if len(buffer) > INLINE:
        await disk.work(_write_all, fd, buffer)
    else:
        _write_all(fd, buffer)


def _write_all(fd: int, data: bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
