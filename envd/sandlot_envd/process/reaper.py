"""Collects the exits of children, and of the orphans that PID 1 inherits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

OnExit = Callable[[int], None]


class Reaper:
    """Calls back with the wait status of each watched pid; everything else is reaped silently.

    A pid stays its process's own until it is reaped here, on the event loop: between two loop turns
    no pid that is still watched can belong to somebody else.
    """

    def __init__(self) -> None:
        self._watched: dict[int, OnExit] = {}
        self._all_gone: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Listen for SIGCHLD on the running loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def stop(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def watch(self, pid: int, on_exit: OnExit) -> None:
        """Call `on_exit(wait status)` once child `pid` has ended; must follow its start without an await."""
        self._watched[pid] = on_exit

    def _reap(self) -> None:
        # One signal may stand for many exits.
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if on_exit := self._watched.pop(pid, None):
                on_exit(status)
            if self._all_gone is not None and not self._watched and not self._all_gone.done():
                self._all_gone.set_result(None)

    async def end_all(self, grace_s: float) -> None:
        """Ask every process to end, wait so long for those that are watched, and kill what is left."""
        self._signal_all(signal.SIGTERM)
        if self._watched:
            self._all_gone = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._all_gone
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: int) -> None:
        # PID 1 speaks to the whole sandbox at once, orphans included; elsewhere only what was started here is ours.
        with contextlib.suppress(ProcessLookupError):
            if os.getpid() == 1:
                os.kill(-1, number)
        for pid in self._watched if os.getpid() != 1 else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
