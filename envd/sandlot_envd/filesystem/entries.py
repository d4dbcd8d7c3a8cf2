"""What a client is told of a file: E2B's EntryInfo, from lstat."""

from __future__ import annotations

import os
import stat
import time
from typing import Any

from sandlot_envd.users import Names
from sandlot_envd.xattrs import read_metadata

Entry = dict[str, Any]

FILE = "FILE_TYPE_FILE"
DIRECTORY = "FILE_TYPE_DIRECTORY"
UNSPECIFIED = "FILE_TYPE_UNSPECIFIED"

_LETTERS = (
    (stat.S_ISDIR, "d"),
    (stat.S_ISLNK, "L"),
    (lambda mode: stat.S_ISBLK(mode) or stat.S_ISCHR(mode), "D"),
    (stat.S_ISFIFO, "p"),
    (stat.S_ISSOCK, "S"),
    (lambda mode: mode & stat.S_ISUID, "u"),
    (lambda mode: mode & stat.S_ISGID, "g"),
    (stat.S_ISCHR, "c"),
    (lambda mode: mode & stat.S_ISVTX, "t"),
)
"""What Go's FileMode.String puts before the permission bits, in its order."""

EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
"""Unix seconds of the years 1 and 9999, between which a Timestamp has to be; file systems know no such limit."""


def show(text: str) -> str:
    """Return a name as JSON can carry it: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(text).decode("utf-8", "replace")


def describe(path: str, names: Names, shown: str | None = None) -> Entry:
    """Return the EntryInfo of `path`, named `shown` where that is another way to the same file.

    Raises OSError when it is not there.
    """
    info = os.lstat(path)
    shown = shown or path
    entry: Entry = {
        "name": show(os.path.basename(shown.rstrip("/")) or "/"),
        "path": show(shown),
        "size": str(info.st_size),
        "permissions": format_mode(info.st_mode),
        "owner": names.of_user(info.st_uid),
        "group": names.of_group(info.st_gid),
        "modifiedTime": format_time(info.st_mtime_ns),
    }
    target = _follow(path, entry) if stat.S_ISLNK(info.st_mode) else info
    entry["type"] = find_type(target.st_mode) if target else UNSPECIFIED
    entry["mode"] = stat.S_IMODE(target.st_mode) & 0o777 if target else 0
    if metadata := read_metadata(path):
        entry["metadata"] = metadata
    return entry


def _follow(path: str, entry: Entry) -> os.stat_result | None:
    """Add where a link ends up, and return what is there; a broken one is its own target."""
    try:
        real = os.path.realpath(path, strict=True)
        info = os.stat(real)
    except OSError:
        entry["symlinkTarget"] = show(path)
        return None
    entry["symlinkTarget"] = show(real)
    return info


def describe_briefly(entry: Entry) -> Entry:
    """Return what the earliest SDK's strict parser knows of an entry."""
    return {name: entry[name] for name in ("name", "type", "path")}


def find_type(mode: int) -> str:
    """Return the FileType of a mode; devices, pipes and sockets have none."""
    if stat.S_ISREG(mode):
        return FILE
    return DIRECTORY if stat.S_ISDIR(mode) else UNSPECIFIED


def format_mode(mode: int) -> str:
    """Return a mode as Go's FileMode.String does: `-rw-r--r--`, `drwxr-xr-x`, `Lrwxrwxrwx`, `dtrwxrwxrwx`."""
    letters = "".join(letter for has_it, letter in _LETTERS if has_it(mode))
    bits = "".join(char if mode & (1 << (8 - i)) else "-" for i, char in enumerate("rwxrwxrwx"))
    return (letters or "-") + bits


def format_time(nanoseconds: int) -> str:
    """Return unix nanoseconds as RFC 3339 in UTC; what no Timestamp can hold becomes the nearest that one can."""
    seconds, rest = divmod(nanoseconds, 10**9)
    seconds = min(max(seconds, EARLIEST), LATEST)
    year, month, day, hour, minute, second, *_ = time.gmtime(seconds)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{rest:09d}Z"
