"""One alarm clock for all sandboxes."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime

from sandlot_server.models import now

LONGEST_SLEEP_S = 15
"""The clock that sleeps are measured by stands still while a laptop sleeps; so look at the time of day now and then."""


class Expiry:
    """Calls `ring` with a key once its moment has come. A later moment for the same key replaces the earlier one."""

    def __init__(self, ring: Callable[[str], None]) -> None:
        self._ring = ring
        self._due: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._changed = asyncio.Event()

    def schedule(self, key: str, moment: datetime) -> None:
        """Ring for `key` at `moment`, or at once when that has passed."""
        self._due[key] = moment
        heapq.heappush(self._heap, (moment, key))
        if self._heap[0][1] == key:
            self._changed.set()

    def cancel(self, key: str) -> None:
        """Do not ring for `key`."""
        self._due.pop(key, None)

    async def run(self) -> None:
        """Ring until cancelled."""
        while True:
            self._changed.clear()
            wait_s = self._ring_due()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _ring_due(self) -> float:
        """Ring for everything that is due; return the seconds until the next one."""
        while self._heap:
            moment, key = self._heap[0]
            wait_s = (moment - now()).total_seconds()
            if self._due.get(key) == moment and wait_s > 0:
                return min(wait_s, LONGEST_SLEEP_S)
            heapq.heappop(self._heap)
            if self._due.get(key) == moment:
                del self._due[key]
                self._ring(key)
        return LONGEST_SLEEP_S
