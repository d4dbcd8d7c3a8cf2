"""Connections to upstreams, and the lanes in which idle ones wait for the next request."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from typing_extensions import override

_READ_BYTES = 256 * 1024


class Receiver(Protocol):
    """Who gets what an upstream sends."""

    def receive_response(self, data: bytes) -> None:
        """Take bytes of the response."""

    def lose_upstream(self, error: Exception | None) -> None:
        """The upstream ended its side (None) or the connection broke."""

    def hold_request(self, hold: bool) -> None:
        """Stop sending, or go on: the upstream takes bytes more slowly than they come."""


class Upstream(asyncio.Protocol):
    """One connection to an upstream; it serves one exchange at a time."""

    __slots__ = ("_buffer_bytes", "idle_since", "is_write_paused", "lane", "receiver", "transport", "was_used")

    def __init__(self, buffer_bytes: int) -> None:
        self.receiver: Receiver | None = None
        self.lane: Lane | None = None
        self.idle_since = 0.0
        self.was_used = False
        self.is_write_paused = False
        self._buffer_bytes = buffer_bytes

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self.transport = transport
        transport.set_write_buffer_limits(high=self._buffer_bytes)

    @override
    def data_received(self, data: bytes) -> None:
        if self.receiver is not None:
            self.receiver.receive_response(data)
        else:
            self.discard()  # nothing was asked: whatever this is, it must not become someone's answer

    @override
    def eof_received(self) -> bool:
        self._lose(None)
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, ConnectionError) and self.receiver is not None:
            self._read_last(self.receiver)
        self._lose(exc)

    @override
    def pause_writing(self) -> None:
        self.is_write_paused = True
        if self.receiver is not None:
            self.receiver.hold_request(True)

    @override
    def resume_writing(self) -> None:
        self.is_write_paused = False
        if self.receiver is not None:
            self.receiver.hold_request(False)

    def discard(self) -> None:
        """Cut the connection; nobody is told."""
        self.receiver = None
        if self.lane is not None:
            self.lane.forget(self)
        self.transport.abort()

    def _read_last(self, receiver: Receiver) -> None:
        """Sending failed, but an answer may have come before: a server that refuses an upload answers and closes."""
        sock = self.transport.get_extra_info("socket")
        if sock is None or self.transport.get_extra_info("sslcontext") is not None:
            return
        with contextlib.suppress(OSError):
            while self.receiver is receiver and (data := os.read(sock.fileno(), _READ_BYTES)):
                receiver.receive_response(data)

    def _lose(self, error: Exception | None) -> None:
        receiver, self.receiver = self.receiver, None
        if self.lane is not None:
            self.lane.forget(self)
        if receiver is not None:
            receiver.lose_upstream(error)


class Lane:
    """The way to one upstream: how to connect, and the idle connections.

    A lane to a server of ours keeps connections for all requests. One to somebody's service keeps them briefly and
    gives them only to requests that may be repeated, since such a server may close or block on them at any time.
    """

    __slots__ = ("_clock", "_dial", "_idle", "_is_closed", "_is_trusted", "_keep_s", "_max_idle")

    def __init__(
        self, dial: Callable[[], Awaitable[Upstream]], clock: Callable[[], float], *, is_trusted: bool, keep_s: float
    ) -> None:
        self._dial = dial
        self._clock = clock
        self._idle: list[Upstream] = []
        self._is_trusted = is_trusted
        self._keep_s = keep_s
        self._max_idle = 64
        self._is_closed = False

    def take(self, *, is_repeatable: bool) -> Upstream | None:
        """Return an idle connection that this request may use."""
        if not self._is_trusted and not is_repeatable:
            self.drain()  # an idle connection may be all that a server with one thread waits for
            return None
        # The sweep comes late when the loop was busy; a server of ours in the same loop is then about to close, too.
        oldest = asyncio.get_running_loop().time() - self._keep_s
        while self._idle:
            upstream = self._idle.pop()
            upstream.lane = None
            if upstream.idle_since >= oldest and not upstream.transport.is_closing():
                return upstream
            upstream.discard()
        return None

    async def connect(self) -> Upstream:
        """Return a new connection; raises OSError or PortClosed."""
        return await self._dial()

    def give(self, upstream: Upstream) -> None:
        """Take back a connection whose exchange is over and left nothing behind."""
        upstream.receiver = None
        upstream.was_used = True
        is_full = self._is_closed or len(self._idle) >= self._max_idle
        if is_full or upstream.is_write_paused or upstream.transport.is_closing():
            upstream.discard()
            return
        upstream.idle_since = self._clock()
        upstream.lane = self
        self._idle.append(upstream)

    def forget(self, upstream: Upstream) -> None:
        """Drop a connection that ended while it was idle."""
        upstream.lane = None
        if upstream in self._idle:
            self._idle.remove(upstream)

    def sweep(self) -> bool:
        """Close connections that were idle for too long; return whether any is left."""
        oldest = self._clock() - self._keep_s
        for upstream in [upstream for upstream in self._idle if upstream.idle_since < oldest]:
            upstream.discard()
        return bool(self._idle)

    def close(self) -> None:
        """Close all idle connections, now and when they come back."""
        self._is_closed = True
        self.drain()

    def drain(self) -> None:
        """Close all idle connections."""
        for upstream in list(self._idle):
            upstream.discard()
