"""A boot id of its own for each container, as programs inside see it.

The engine refuses a mount below /proc, so that of the host would show. Root on the engine's own host can make the
mount from outside: it enters the container's mount namespace and binds a file of the sandbox's over the kernel's.
The agent writes that file. Where the server is not root there, or runs in a container of its own, nothing is done:
programs then see the host's boot id, and only reads through the agent see the sandbox's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Final

from sandlot_protocol.http import BOOT_ID_FILE

KERNELS_FILE: Final = "/proc/sys/kernel/random/boot_id"

EXEC_S: Final = 0.2

_CLONE_FS: Final = 0x200
_CLONE_NEWNS: Final = 0x20000
_MS_BIND: Final = 4096


def give_boot_id(pid: int) -> bool:
    """Put a file over the boot id that the container of process `pid` sees; returns whether that could be done."""
    if os.geteuid() != 0 or not is_of_this_host(pid):
        return False
    done: list[bool] = []
    # A thread of its own: it can never come back from the namespace that it enters.
    thread = threading.Thread(target=lambda: done.append(_enter_and_bind(pid)), name="boot id")
    thread.start()
    thread.join()
    return done == [True]


def is_of_this_host(pid: int) -> bool:
    """Whether the engine's pid is one of our own pid namespace; a server in a container sees others under it."""
    deadline = time.monotonic() + EXEC_S
    while time.monotonic() < deadline:
        try:
            if b"sandlot_envd" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
        except OSError:
            return False
        time.sleep(0.002)  # the container's first process is about to become the agent
    return False


def _enter_and_bind(pid: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if libc.unshare(_CLONE_FS) or libc.setns(namespace, _CLONE_NEWNS):
            return False
    finally:
        os.close(namespace)
    # From here on every path is the container's.
    with contextlib.suppress(OSError):
        Path(BOOT_ID_FILE).parent.mkdir(parents=True, exist_ok=True)
        Path(BOOT_ID_FILE).write_text(f"{uuid.uuid4()}\n")
        return bool(libc.mount(BOOT_ID_FILE.encode(), KERNELS_FILE.encode(), None, _MS_BIND, None) == 0)
    return False
