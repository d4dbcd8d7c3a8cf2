"""Which filesystem a path is on: on those that others change from afar, the kernel cannot see every change."""

from __future__ import annotations

import ctypes
import os

NETWORK = {
    0x6969: "NFS",
    0xFF534D42: "CIFS",
    0x517B: "SMB",
    0xFE534D42: "SMB2",
    0x65735546: "FUSE",
}
"""Names by the magic number that statfs(2) tells."""


def find_network_filesystem(path: str) -> str | None:
    """Return the name of the network filesystem that `path` is on, None for a local one. Raises OSError."""
    # struct statfs is below 256 bytes everywhere and begins with the type, a long.
    answer = (ctypes.c_long * 32)()
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), answer) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return NETWORK.get(answer[0] & 0xFFFFFFFF)
