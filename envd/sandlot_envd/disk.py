"""Disk work that may take long, beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def work(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `action` returns, run in a thread.

    When the caller is cancelled it still waits for the thread: a descriptor that was closed under a thread's hands
    would by then belong to another file.
    """
    future = asyncio.get_running_loop().run_in_executor(None, lambda: action(*args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            await _outlast(future)
        raise


async def _outlast(future: asyncio.Future[T]) -> None:
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        return
