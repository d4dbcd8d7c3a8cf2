"""The sandbox's users, read from its own files: never through NSS, which would load the image's libraries."""

from __future__ import annotations

import os
from stat import S_ISREG

from sandlot_envd.errors import Unauthenticated

PASSWD = "/etc/passwd"  # noqa: S105 - a file
GROUP = "/etc/group"


class User:
    """One line of /etc/passwd, with the supplementary groups of /etc/group."""

    __slots__ = ("gid", "groups", "home", "name", "uid")

    def __init__(self, name: str, uid: int, gid: int, home: str, groups: list[int]) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home
        self.groups = groups


ROOT = User("root", 0, 0, "/", [0])
"""Of an image that names no users at all."""

MAX_SIZE = 4 << 20
MAX_ID = 2**32 - 2


def _rows(path: str, fields: int) -> list[list[str]]:
    rows = [line.split(":") for line in _read(path).splitlines()]
    return [row for row in rows if len(row) >= fields]


def _read(path: str) -> str:
    """Return a file's text, "" where there is none. What is no plain file could keep the agent waiting for ever."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(fd, MAX_SIZE).decode("utf-8", "surrogateescape") if S_ISREG(os.fstat(fd).st_mode) else ""
    except OSError:
        return ""
    finally:
        os.close(fd)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_ID


def find_user(name: str) -> User:
    """Return the user called `name`; raises Unauthenticated for one that the sandbox does not have.

    A sandbox without /etc/passwd has root alone.
    """
    for row in _rows(PASSWD, 6):
        if row[0] == name and _is_id(row[2]) and _is_id(row[3]):
            uid, gid = int(row[2]), int(row[3])
            return User(name, uid, gid, row[5] or "/", _find_groups(name, gid))
    if name == "root":
        return ROOT
    raise Unauthenticated(f"invalid username: '{name}'")


def _find_groups(name: str, gid: int) -> list[int]:
    member = [int(row[2]) for row in _rows(GROUP, 4) if _is_id(row[2]) and name in row[3].split(",")]
    return sorted({gid, *member})


class Names:
    """Names of ids, for showing owners: read once for each request that shows any."""

    __slots__ = ("_groups", "_users")

    def __init__(self) -> None:
        self._users = {row[2]: row[0] for row in reversed(_rows(PASSWD, 6))}
        self._groups = {row[2]: row[0] for row in reversed(_rows(GROUP, 4))}

    def of_user(self, uid: int) -> str:
        """The user's name, or the number as text where no user has it."""
        return self._users.get(str(uid), str(uid))

    def of_group(self, gid: int) -> str:
        """The group's name, or the number as text where no group has it."""
        return self._groups.get(str(gid), str(gid))
