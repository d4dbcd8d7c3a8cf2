"""The threads for disk work that may take long, and whether any of them is at it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MAX_WORKERS = 4
"""A sandbox has few processors and one disk; every thread costs memory."""


class Threads(ThreadPoolExecutor):
    """The event loop's executor."""

    def __init__(self) -> None:
        super().__init__(MAX_WORKERS, thread_name_prefix="disk")
        self._at_work: set[Future[Any]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start `fn` in a thread. Only the event loop's own thread may call this."""
        future = super().submit(fn, *args, **kwargs)
        self._at_work.add(future)
        future.add_done_callback(self._at_work.discard)
        return future

    @property
    def are_busy(self) -> bool:
        """Whether something runs in a thread at this moment."""
        return bool(self._at_work)
