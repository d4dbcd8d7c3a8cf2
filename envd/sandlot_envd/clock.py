"""Time as the sandbox lives it: it stands still between /freeze and /unfreeze.

A frozen container's processes stop, but the host's clock runs on. Deadlines, keepalives and retention are counted
on this clock, so that a pause does not use them up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MAX_FROZEN_S = 300.0
"""A control plane that dies between freezing and pausing must not leave a sandbox whose deadlines never come."""


class Timer:
    """A call to be made after some seconds of the sandbox's own time."""

    __slots__ = ("_action", "_clock", "_due", "_handle")

    def __init__(self, clock: Clock, seconds: float, action: Callable[[], None]) -> None:
        self._clock = clock
        self._action = action
        self._due = clock.now() + seconds
        self._handle: asyncio.TimerHandle | None = None
        self.arm()

    def arm(self) -> None:
        """Let the event loop make the call when it is due."""
        left = max(0.0, self._due - self._clock.now())
        self._handle = asyncio.get_running_loop().call_later(left, self._fire)

    def disarm(self) -> None:
        """Take the call back from the event loop; `arm` gives it back."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._clock.forget(self)
        self._action()

    def cancel(self) -> None:
        """Never make the call. Harmless when it was made or cancelled before."""
        self.disarm()
        self._clock.forget(self)


class Clock:
    """Seconds that the sandbox has lived through, and the timers that count them."""

    def __init__(self) -> None:
        self._lost = 0.0
        self._frozen_at: float | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._timers: set[Timer] = set()

    def now(self) -> float:
        """Seconds since an arbitrary moment, frozen time left out."""
        time = asyncio.get_running_loop().time() if self._frozen_at is None else self._frozen_at
        return time - self._lost

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call `action` after `seconds` of the sandbox's own time."""
        timer = Timer(self, seconds, action)
        self._timers.add(timer)
        if self._frozen_at is not None:
            timer.disarm()
        return timer

    def forget(self, timer: Timer) -> None:
        """Drop a timer that has fired or was cancelled."""
        self._timers.discard(timer)

    def freeze(self) -> None:
        """Let time stand still. Harmless when it does already.

        Who says so must say when it goes on; after `MAX_FROZEN_S` in which the agent itself was running, nobody will.
        """
        if self._frozen_at is not None:
            return
        loop = asyncio.get_running_loop()
        self._frozen_at = loop.time()
        self._watchdog = loop.call_later(MAX_FROZEN_S, self.unfreeze)
        for timer in self._timers:
            timer.disarm()

    def unfreeze(self) -> None:
        """Let time go on from where it stood. Harmless when it does already."""
        if self._frozen_at is None:
            return
        self._lost += asyncio.get_running_loop().time() - self._frozen_at
        self._frozen_at = None
        if self._watchdog is not None:
            self._watchdog.cancel()
        for timer in self._timers:
            timer.arm()
