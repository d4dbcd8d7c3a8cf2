"""One process's events, to everybody who listens. Live only: who comes later sees what comes later.

A listener that reads slowly slows the process down, as on E2B: nothing is lost, and nothing piles up. It cannot hold
up the others for ever, though: when some wait for one that took too little for `STALL_S` seconds, that one is cut off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from sandlot_envd.clock import Clock, Timer
from sandlot_envd.errors import ResourceExhausted

Event = dict[str, Any]

KEEPALIVE: Event = {"keepalive": {}}

HIGH_WATER = 512 * 1024
"""Bytes of output that may wait for one listener before the process itself has to wait."""

LOW_WATER = HIGH_WATER // 2
"""What a full listener must get down to before the process goes on."""

STALL_S = 15.0


class Subscriber:
    """One listener's queue."""

    def __init__(self, fanout: Fanout, keepalive_s: float) -> None:
        self._fanout = fanout
        self._keepalive_s = keepalive_s
        self._events: deque[tuple[Event, int]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: Timer | None = None
        self._last = fanout.clock.now()
        self._closed = False
        self._dropped = False
        self._is_due = False
        self.waiting = 0

    def put(self, event: Event, size: int) -> None:
        """Queue an event that carries `size` bytes."""
        self._events.append((event, size))
        self.waiting += size
        self._wake()

    def close(self) -> None:
        """Nothing comes after what is queued."""
        self._closed = True
        self._wake()

    def drop(self) -> None:
        """Cut this listener off: it has let the others wait for too long."""
        self._dropped = True
        self._events.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Event | None:
        """Return the next event, KEEPALIVE after `keepalive_s` of silence, None at the end.

        Raises ResourceExhausted when this listener was cut off.
        """
        while not self._events:
            if self._dropped:
                raise ResourceExhausted("this stream was not read for too long while others waited for it")
            if self._closed:
                return None
            if self._is_due:
                return self._mark(KEEPALIVE)
            await self._wait()
        event, size = self._events.popleft()
        self.waiting -= size
        self._fanout.relieve()
        return self._mark(event)

    def _mark(self, event: Event) -> Event:
        """Count the silence anew from an event that the listener has taken."""
        self._last = self._fanout.clock.now()
        self._is_due = False
        return event

    async def _wait(self) -> None:
        if self._timer is None:
            self._timer = self._fanout.clock.call_later(self._keepalive_s, self._check_silence)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _check_silence(self) -> None:
        """One timer for the whole stream: setting one for every event would cost more than the event."""
        silence = self._fanout.clock.now() - self._last
        left = self._keepalive_s - silence
        if left < 0.001:
            self._is_due = True
            self._wake()
            left = self._keepalive_s
        self._timer = self._fanout.clock.call_later(left, self._check_silence)

    def leave(self) -> None:
        """Stop listening."""
        if self._timer is not None:
            self._timer.cancel()
        self._fanout.remove(self)


class Fanout:
    """Copies events to subscribers; `on_pressure(True)` asks the source to pause, `on_pressure(False)` to go on."""

    def __init__(self, clock: Clock, on_pressure: Callable[[bool], None]) -> None:
        self.clock = clock
        self._on_pressure = on_pressure
        self._subscribers: set[Subscriber] = set()
        self._stall: Timer | None = None
        self._pressed = False

    @property
    def has_listeners(self) -> bool:
        """Whether anybody wants the events."""
        return bool(self._subscribers)

    def subscribe(self, keepalive_s: float) -> Subscriber:
        """Add a listener for everything from now on."""
        subscriber = Subscriber(self, keepalive_s)
        self._subscribers.add(subscriber)
        if self._pressed:
            self._watch_for_stall()
        return subscriber

    def remove(self, subscriber: Subscriber) -> None:
        """Remove a listener; harmless when it is gone already."""
        self._subscribers.discard(subscriber)
        self.relieve()

    def publish(self, event: Event, size: int = 0) -> None:
        """Give `event`, which carries `size` bytes, to everybody. With nobody listening it is lost, as on E2B."""
        for subscriber in self._subscribers:
            subscriber.put(event, size)
        if not self._pressed and any(one.waiting >= HIGH_WATER for one in self._subscribers):
            self._pressed = True
            self._on_pressure(True)
            self._watch_for_stall()

    def relieve(self) -> None:
        """Let the source go on when every listener has caught up."""
        if self._pressed and all(one.waiting <= LOW_WATER for one in self._subscribers):
            self._pressed = False
            self._stop_watching()
            self._on_pressure(False)

    def _watch_for_stall(self) -> None:
        # One listener alone may take its time: it holds up nobody but the process.
        if self._stall is None and len(self._subscribers) > 1:
            self._stall = self.clock.call_later(STALL_S, self._drop_stalled)

    def _drop_stalled(self) -> None:
        self._stall = None
        stalled = {one for one in self._subscribers if one.waiting > LOW_WATER}
        if stalled == self._subscribers:
            self._watch_for_stall()
            return
        for subscriber in stalled:
            subscriber.drop()
        self._subscribers -= stalled
        self.relieve()

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def close(self) -> None:
        """End all streams after what is queued."""
        self._stop_watching()
        for subscriber in self._subscribers:
            subscriber.close()
        self._subscribers.clear()
