"""Removing whole folders, however deep, with a few descriptors, and never through a link that somebody slips in."""

from __future__ import annotations

import errno
import os

from sandlot_envd.errors import BadRequest

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Identity = tuple[int, int]
"""Device and inode."""


def remove_tree(path: str) -> None:
    """Remove a file, a link or a folder with all in it; what is not there is removed already.

    Raises OSError, and BadRequest for paths that name a folder by `.` or `..`, or the root.
    """
    parent, name = os.path.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        raise BadRequest(f"cannot remove {path}")
    try:
        fd = os.open(parent or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return  # below what does not exist, or is a file, there is nothing
    try:
        if not _remove_single(name, fd):
            _remove_full(name, fd)
    finally:
        os.close(fd)


def _remove_single(name: str, fd: int) -> bool:
    """Remove an entry of an open folder unless that is a folder with something in it; returns whether it is gone."""
    try:
        os.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        return _remove_empty(name, fd)
    return True


def _remove_empty(name: str, fd: int) -> bool:
    try:
        os.rmdir(name, dir_fd=fd)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def _remove_full(name: str, parent: int) -> None:
    """Go down to where folders are empty and back up, with one descriptor for the folder at hand.

    On the way up `..` is taken only when it is the folder from which the way led down: somebody may move folders.
    """
    trail: list[tuple[Identity, str]] = [(_identify(parent), name)]
    fd = os.open(name, _FOLDER, dir_fd=parent)
    try:
        while trail:
            full = _empty(fd)
            if full is not None:
                trail.append((_identify(fd), full))
                fd = _step(fd, full)
                continue
            identity, name = trail.pop()
            fd = _step(fd, "..")
            if _identify(fd) != identity:
                raise OSError(errno.EBUSY, "A folder was moved while it was being removed")
            os.rmdir(name, dir_fd=fd)
    finally:
        os.close(fd)


def _empty(fd: int) -> str | None:
    """Remove what can be removed at once; returns the first folder that has something in it, None for none."""
    with os.scandir(fd) as entries:
        for entry in entries:
            if not _remove_single(entry.name, fd):
                return entry.name
    return None


def _step(fd: int, name: str) -> int:
    """Change over to another folder."""
    following = os.open(name, _FOLDER, dir_fd=fd)
    os.close(fd)
    return following


def _identify(fd: int) -> Identity:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino
