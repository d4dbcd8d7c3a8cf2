"""The end of a call's own time, counted on the sandbox's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from sandlot_envd.clock import Clock
from sandlot_envd.errors import DeadlineExceeded

T = TypeVar("T")


class Deadline:
    """Ends what `keep` waits for when its seconds are over; None seconds never are."""

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._expired = False
        self._scope: asyncio.Timeout | None = None
        self._timer = None if seconds is None else clock.call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._expired = True
        if self._scope is not None:
            self._scope.reschedule(0)

    async def keep(self, awaitable: Awaitable[T]) -> T:
        """Return what `awaitable` gives; raises DeadlineExceeded, and cancels it, when the time is over first."""
        if self._timer is None:
            return await awaitable
        try:
            async with asyncio.timeout(0 if self._expired else None) as self._scope:
                return await awaitable
        except TimeoutError as error:
            if not self._expired:
                raise
            raise DeadlineExceeded("the deadline of the call is over") from error
        finally:
            self._scope = None

    def cancel(self) -> None:
        """Stop counting."""
        if self._timer is not None:
            self._timer.cancel()
