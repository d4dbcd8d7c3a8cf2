"""How many sandboxes a team runs at once and how fast new ones start: noted every few seconds, kept for a week."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
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

    def __init__(self, *, store: Store, registry: Registry, count_started: Callable[[], Mapping[str, int]]) -> None:
        self._store = store
        self._registry = registry
        self._count_started = count_started
        self._started: Counter[str] = Counter()
        self._busy: set[str] = set()

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
        started = Counter(self._count_started())
        running, begun, moment = self._registry.count_by_team(), started - self._started, now()
        busy = {*running, *begun}
        for team in busy | self._busy:
            await self._store.append_activity(Activity(moment, running[team], begun[team], team))
        self._started, self._busy = started, busy

    async def load(self, team: str, start: datetime, end: datetime) -> list[tuple[Activity, float]]:
        """Return the activity of a team in a span, each with its rate of starts per second."""
        step_s = find_step(end - start)
        return [(one, one.started / step_s) for one in await self._store.load_activity(team, start, end, step_s)]

    async def find_peak(self, of: Peak, team: str, start: datetime, end: datetime) -> tuple[datetime, float] | None:
        """Return when a team had the most sandboxes at once, or the most starts per second, and how many."""
        peak = await self._store.find_peak(of, team, start, end)
        if peak is None:
            return None
        return peak.at, peak.concurrent if of == "concurrent" else peak.started / INTERVAL_S


def find_step(span: timedelta) -> int:
    """Seconds that one point of a span stands for."""
    return next((step_s for limit, step_s in STEPS if span < limit), LONGEST_STEP_S)
