"""Keeps what the agent holds (its tokens) from everything else in the sandbox, root's processes too."""

from __future__ import annotations

import contextlib
import os

PR_SET_DUMPABLE = 4
SUID_DUMPABLE = "/proc/sys/fs/suid_dumpable"


def hide_memory() -> None:
    """Make this process one that nobody may trace or read, short of CAP_SYS_PTRACE, which no sandbox has.

    The kernel does so by itself when a process changes its effective identity; that costs two system calls, where
    prctl costs a megabyte of ctypes. prctl is for hosts whose administrator turned the kernel's rule off, and for an
    agent that is not root.
    """
    if os.geteuid() == 0 and _read_policy() in ("0", "2"):
        with contextlib.suppress(OSError):
            os.setegid(os.getegid() + 1)
            os.setegid(os.getgid())
            return
    _set_not_dumpable()


def _read_policy() -> str:
    try:
        with open(SUID_DUMPABLE, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _set_not_dumpable() -> None:
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
