"""Where the sandbox's programs look names up."""

from __future__ import annotations

import os

RESOLV_CONF = "/etc/resolv.conf"


def use_nameserver(address: str, path: str = RESOLV_CONF) -> None:
    """Have names looked up at `address` alone: the engine's own resolver would tell of neighbours. Raises OSError."""
    # In place, for the engine has mounted this file.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(fd, f"nameserver {address}\noptions ndots:0\n".encode())
    finally:
        os.close(fd)
