"""Waiting for what must come, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], what: str, deadline_s: float = 5) -> None:
    """Return once `condition` holds; raise AssertionError naming `what` after `deadline_s` seconds."""
    end = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.005)
