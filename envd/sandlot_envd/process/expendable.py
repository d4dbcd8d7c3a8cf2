"""Under memory pressure the kernel takes commands before it takes the agent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

SCORE = b"100"
"""What E2B gives its commands."""


@contextlib.contextmanager
def expendable() -> Iterator[None]:
    """Let a child that is forked meanwhile have `SCORE` from its first moment; grandchildren inherit it.

    Where the score cannot be set, the child keeps the agent's.
    """
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_RDWR)
    except OSError:
        yield
        return
    try:
        own = os.read(fd, 16)
        _set(fd, SCORE)
        try:
            yield
        finally:
            _set(fd, own)
    finally:
        os.close(fd)


def _set(fd: int, score: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, score)
