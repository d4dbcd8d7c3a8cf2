"""The kernel's file notifications, bound directly: the libraries for it load 0.8 MB of what is not needed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from sandlot_envd.errors import AgentError, ResourceExhausted, translate

MODIFY = 0x2
ATTRIB = 0x4
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
Q_OVERFLOW = 0x4000
IGNORED = 0x8000
ONLYDIR = 0x0100_0000
DONT_FOLLOW = 0x0200_0000
ISDIR = 0x4000_0000

WANTED = CREATE | MOVED_TO | MOVED_FROM | MOVE_SELF | ATTRIB | MODIFY | DELETE | DELETE_SELF
"""One mask for every watch: a second watch of the same folder would otherwise replace the first one's."""

BUFFER = 64 * 1024
FIONREAD = 0x541B

_HEAD = struct.Struct("iIII")

Event = tuple[int, int, int, str]
"""Watch descriptor, mask, cookie, and the name within the watched folder, "" for the folder itself."""


class Inotify:
    """One inotify instance. Raises OSError as the system calls do."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def _check(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def add(self, path: str, flags: int = 0) -> int:
        """Watch a folder; returns its watch descriptor, the same one for the same folder by any path."""
        return self._check(self._libc.inotify_add_watch(self.fd, os.fsencode(path), WANTED | ONLYDIR | flags))

    def remove(self, wd: int) -> None:
        """Stop watching; harmless when the kernel has done so already."""
        self._libc.inotify_rm_watch(self.fd, wd)

    def count_waiting(self) -> int:
        """Return the bytes of events that wait to be read."""
        return int(struct.unpack("i", fcntl.ioctl(self.fd, FIONREAD, b"\0\0\0\0"))[0])

    def read(self, size: int = BUFFER) -> list[Event]:
        """Return waiting events that take up to `size` bytes, none when none wait."""
        try:
            return parse(os.read(self.fd, size))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Give the instance back."""
        os.close(self.fd)


def parse(data: bytes) -> list[Event]:
    """Return the events of what the kernel wrote."""
    events = []
    position = 0
    while position < len(data):
        wd, mask, cookie, size = _HEAD.unpack_from(data, position)
        start = position + _HEAD.size
        position = start + size
        events.append((wd, mask, cookie, os.fsdecode(data[start:position].rstrip(b"\0"))))
    return events


def explain(error: OSError, path: str) -> AgentError:
    """Return what a client is told when a folder cannot be watched."""
    if error.errno == errno.ENOSPC:
        return ResourceExhausted(f"cannot watch {path}: the limit fs.inotify.max_user_watches is reached")
    if error.errno == errno.EMFILE:
        return ResourceExhausted(f"cannot watch {path}: the limit fs.inotify.max_user_instances is reached")
    return translate(error, f"cannot watch {path}")
