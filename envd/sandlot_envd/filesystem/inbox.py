"""The events that wait for one client."""

from __future__ import annotations

import asyncio

from sandlot_envd.clock import Clock
from sandlot_envd.errors import AgentError, ResourceExhausted
from sandlot_envd.filesystem.entries import Entry

Change = tuple[str, str, Entry | None]
"""Path below the watched folder, EventType, and the entry where one was asked for."""

MAX_WEIGHT = 131_072
"""What may wait for one client: as many plain events, or a quarter with entries. Some 25 MB either way."""

ENTRY_WEIGHT = 4


class Inbox:
    """Changes in order. One that is not emptied overflows, and says so, before it fills the sandbox's memory."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._weight = 0
        self._error: AgentError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, name: str, kind: str, entry: Entry | None = None) -> None:
        """Add a change."""
        if self._weight >= MAX_WEIGHT:
            self.fail(ResourceExhausted("event queue overflow: changes were not fetched fast enough, some are lost"))
            return
        self._weight += 1 if entry is None else ENTRY_WEIGHT
        self._changes.append((name, kind, entry))
        self._wake()

    def fail(self, error: AgentError) -> None:
        """Tell the client that it will not learn of every change; the first error counts."""
        self._error = self._error or error
        self._wake()

    def take(self) -> list[Change]:
        """Return all that wait and forget them."""
        changes, self._changes = self._changes, []
        self._weight = 0
        return changes

    def take_error(self) -> AgentError | None:
        """Return the error and forget it."""
        error, self._error = self._error, None
        return error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, clock: Clock, seconds: float) -> None:
        """Return when something waits, or after so many seconds of the sandbox's time."""
        if self._changes or self._error:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        timer = clock.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
