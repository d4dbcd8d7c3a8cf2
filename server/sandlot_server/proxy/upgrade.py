"""Upgraded connections: once both sides have switched protocols, bytes pass unread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from typing_extensions import override

from sandlot_server.proxy.limits import Stats


class _Side(asyncio.Protocol):
    """One of the two connections; what it receives, the other one sends."""

    __slots__ = ("_is_client", "_other", "_splice", "transport")

    def __init__(self, splice: Splice, transport: asyncio.Transport, *, is_client: bool) -> None:
        self._splice = splice
        self._is_client = is_client
        self.transport = transport

    def join(self, other: _Side) -> None:
        self._other = other.transport

    @override
    def data_received(self, data: bytes) -> None:
        self._splice.count(len(data), from_client=self._is_client)
        self._other.write(data)

    @override
    def eof_received(self) -> bool:
        return self._splice.end_half(self.transport, self._other)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._splice.end(self, exc)

    @override
    def pause_writing(self) -> None:
        self._other.pause_reading()

    @override
    def resume_writing(self) -> None:
        self._other.resume_reading()


class Splice:
    """Two connections joined; one's end is the other's."""

    __slots__ = ("_client", "_ended", "_halves", "_linger_s", "_on_end", "_stats", "_upstream")

    def __init__(
        self,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        stats: Stats,
        on_end: Callable[[Splice], None],
        *,
        linger_s: float,
    ) -> None:
        self._stats = stats
        self._linger_s = linger_s
        self._on_end = on_end
        self._ended = False
        self._halves = 0
        self._client = _Side(self, client, is_client=True)
        self._upstream = _Side(self, upstream, is_client=False)
        self._client.join(self._upstream)
        self._upstream.join(self._client)
        stats.tunnels += 1

    def start(self, to_client: bytes, to_upstream: bytes, *, client_is_full: bool, upstream_is_full: bool) -> None:
        """Take over both connections; the first two arguments are what has been read already.

        A connection that is full took less than was written to it. It calls when it has room, but not twice that it
        has none: without being held back from the start, the other one could fill all memory.
        """
        client, upstream = self._client.transport, self._upstream.transport
        client.set_protocol(self._client)
        upstream.set_protocol(self._upstream)
        _hold_reading(upstream, client_is_full)
        _hold_reading(client, upstream_is_full)
        self.count(len(to_client), from_client=False)
        client.write(to_client)
        self.count(len(to_upstream), from_client=True)
        upstream.write(to_upstream)

    def count(self, size: int, *, from_client: bool) -> None:
        """Account for bytes that pass."""
        if from_client:
            self._stats.bytes_in += size
        else:
            self._stats.bytes_out += size

    def cut(self) -> None:
        """End both connections at once."""
        self._client.transport.abort()
        self._upstream.transport.abort()

    def end_half(self, ended: asyncio.Transport, other: asyncio.Transport) -> bool:
        """One side sends no more: so does the other. Return whether its connection stays open for the answer."""
        self._halves += 1
        if self._halves == 2 or not other.can_write_eof() or other.is_closing():
            self._cut_later(ended)
            return False
        other.write_eof()
        return True

    def end(self, side: _Side, error: Exception | None) -> None:
        """One connection is over: let the other one send what it has, and end."""
        other = self._upstream if side is self._client else self._client
        if error is None:
            other.transport.close()
            self._cut_later(other.transport)
        else:
            other.transport.abort()
        if not self._ended:
            self._ended = True
            self._stats.tunnels -= 1
            self._on_end(self)

    def _cut_later(self, transport: asyncio.Transport) -> None:
        """Cut a closing connection whose peer does not even read the end; once it is closed this does nothing."""
        asyncio.get_running_loop().call_later(self._linger_s, transport.abort)


def _hold_reading(transport: asyncio.Transport, hold: bool) -> None:
    if hold:
        transport.pause_reading()
    else:
        transport.resume_reading()
