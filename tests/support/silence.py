"""An address of this machine that takes connections up and never answers any of them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

FILL = 4


@contextlib.contextmanager
def unanswered() -> Iterator[str]:
    """Yield a URL whose port's queue is full: the kernel drops every further attempt to connect."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(FILL):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
