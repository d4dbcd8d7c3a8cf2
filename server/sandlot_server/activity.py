"""How many sandboxes run at once and how fast new ones start: noted every few seconds, kept for a week."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sandlot_server.errors import SandlotError
from sandlot_server.models import Activity, now
from sandlot_server.registry import Registry
from sandlot_server.store.base import Peak, Store

log = logging.getLogger(__name__)

INTERVAL_S = 5
KEPT = timedelta(days=7)
STEPS = (
    (timedelta(hours=1), 5),
    (timedelta(hours=6), 30),
    (timedelta(hours=12), 60),
    (timedelta(hours=24), 120),
    (KEPT, 300),
)
"""A span shorter than the first is told in steps of so many seconds: two thousand of them at most."""
LONGEST_STEP_S = 900


class ActivityRecorder:
    """Notes activity and answers questions about it."""

    def __init__(self, *, store: Store, registry: Registry, count_started: Callable[[], int]) -> None:
        self._store = store
        self._registry = registry
        self._count_started = count_started
        self._started = 0
        self._idle = True

    async def run(self) -> None:
        """Note the activity until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.note()
            except SandlotError as error:
                log.warning("how busy the server is could not be saved: %s", error)

    async def note(self) -> None:
        """Note the activity of this moment; of a long quiet time the beginning is enough."""
        started = self._count_started()
        activity = Activity(now(), self._registry.count_active(), started - self._started)
        idle = activity.concurrent == activity.started == 0
        if not (idle and self._idle):
            await self._store.append_activity(activity)
        self._started, self._idle = started, idle

    async def load(self, start: datetime, end: datetime) -> list[tuple[Activity, float]]:
        """Return the activity of a span, each with its rate of starts per second."""
        step_s = find_step(end - start)
        return [(one, one.started / step_s) for one in await self._store.load_activity(start, end, step_s)]

    async def find_peak(self, of: Peak, start: datetime, end: datetime) -> tuple[datetime, float] | None:
        """Return when a span had the most sandboxes at once, or the most starts per second, and how many."""
        peak = await self._store.find_peak(of, start, end)
        if peak is None:
            return None
        return peak.at, peak.concurrent if of == "concurrent" else peak.started / INTERVAL_S


def find_step(span: timedelta) -> int:
    """Seconds that one point of a span stands for."""
    return next((step_s for limit, step_s in STEPS if span < limit), LONGEST_STEP_S)
