"""One process's events, to everybody who listens. Live only: who comes later sees what comes later."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from sandlot_envd.clock import Clock, Timer
from sandlot_envd.errors import ResourceExhausted

Event = dict[str, Any]

KEEPALIVE: Event = {"keepalive": {}}

MAX_WAITING = 64
"""Events that may wait for one subscriber before the process itself has to wait."""

STALL_S = 15.0
"""A subscriber that takes nothing for so long, while others wait for it, is cut off."""


class Subscriber:
    """One listener's queue."""

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._dropped = False
        self.expired = False

    @property
    def is_full(self) -> bool:
        """Whether the process has to wait for this listener."""
        return len(self._events) >= MAX_WAITING

    def put(self, event: Event) -> None:
        """Queue an event."""
        self._events.append(event)
        self._wake()

    def close(self) -> None:
        """Nothing comes after what is queued."""
        self._closed = True
        self._wake()

    def expire(self) -> None:
        """End this listener's stream: its call's own time is over."""
        self.expired = True
        self._events.clear()
        self.close()

    def drop(self) -> None:
        """Cut this listener off: it has let the others wait for too long."""
        self._dropped = True
        self._events.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self, keepalive_s: float) -> Event | None:
        """Return the next event, KEEPALIVE after so many seconds of silence, None at the end.

        Raises ResourceExhausted when this listener was cut off.
        """
        if not self._events and not self._closed and not self._dropped:
            await self._wait(keepalive_s)
        if self._dropped:
            raise ResourceExhausted("this stream was not read for too long while others waited for it")
        if self._events:
            event = self._events.popleft()
            self._fanout.relieve()
            return event
        return None if self._closed else KEEPALIVE

    async def _wait(self, seconds: float) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        timer = self._fanout.clock.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()

    def leave(self) -> None:
        """Stop listening."""
        self._fanout.remove(self)


class Fanout:
    """Copies events to subscribers; `on_pressure(True)` asks the source to pause, `on_pressure(False)` to go on."""

    def __init__(self, clock: Clock, on_pressure: Callable[[bool], None]) -> None:
        self.clock = clock
        self._on_pressure = on_pressure
        self._subscribers: set[Subscriber] = set()
        self._stall: Timer | None = None
        self._pressed = False

    def subscribe(self) -> Subscriber:
        """Add a listener for everything from now on."""
        subscriber = Subscriber(self)
        self._subscribers.add(subscriber)
        return subscriber

    def remove(self, subscriber: Subscriber) -> None:
        """Remove a listener; harmless when it is gone already."""
        self._subscribers.discard(subscriber)
        self.relieve()

    def publish(self, event: Event) -> None:
        """Give `event` to everybody. With nobody listening it is lost, as on E2B."""
        for subscriber in self._subscribers:
            subscriber.put(event)
        if not self._pressed and any(one.is_full for one in self._subscribers):
            self._pressed = True
            self._on_pressure(True)
            self._stall = self.clock.call_later(STALL_S, self._drop_stalled)

    def relieve(self) -> None:
        """Let the source go on when no listener is full any more."""
        if self._pressed and not any(one.is_full for one in self._subscribers):
            self._pressed = False
            self._stop_stall()
            self._on_pressure(False)

    def _drop_stalled(self) -> None:
        """A single slow listener only slows its process; with others waiting, the stalled ones are cut off."""
        self._stall = None
        stalled = {one for one in self._subscribers if one.is_full}
        if stalled and stalled != self._subscribers:
            for subscriber in stalled:
                subscriber.drop()
            self._subscribers -= stalled
            self.relieve()
        elif stalled:
            self._stall = self.clock.call_later(STALL_S, self._drop_stalled)

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def close(self) -> None:
        """End all streams after what is queued."""
        self._stop_stall()
        for subscriber in self._subscribers:
            subscriber.close()
        self._subscribers.clear()
