"""One client's connection: requests are taken off it one after the other and answered in that order."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from typing_extensions import override

from sandlot_server.proxy import pages
from sandlot_server.proxy.exchange import Exchange
from sandlot_server.proxy.heads import HeadError, check_incomplete
from sandlot_server.proxy.routing import RoutingError

if TYPE_CHECKING:
    from sandlot_server.proxy.door import FrontDoor
    from sandlot_server.proxy.upgrade import Splice

_MAX_WAITING: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)


class ClientConnection(asyncio.Protocol):
    """HTTP/1.1 towards a client. Every request on it is framed, authorised and routed on its own."""

    __slots__ = (
        "_buffer", "_checked", "_exchange", "_is_advancing", "_is_held", "_is_lingering", "_is_paused", "_is_secure",
        "_served", "door", "forwarded", "is_write_paused", "since", "transport",
    )  # fmt: skip

    def __init__(self, door: FrontDoor, *, is_secure: bool) -> None:
        self.door = door
        self._is_secure = is_secure
        self._buffer = b""
        self._checked = 0
        """How much of an incomplete head has been looked at: one that comes byte by byte must not cost its square."""
        self._exchange: Exchange | None = None
        self._is_advancing = False
        self._is_held = False
        self._is_lingering = False
        self._is_paused = False
        self._served = 0
        self.is_write_paused = False
        self.since = door.now
        """When the connection last began to wait for its client, by the door's clock."""
        self.forwarded = b""
        """What the API is told about the connection."""

    # -- asyncio.Protocol

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self.transport = transport
        transport.set_write_buffer_limits(high=self.door.limits.buffer_bytes)
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else "unknown"
        scheme = "https" if self._is_secure else "http"
        self.forwarded = f"X-Forwarded-For: {address}\r\nX-Forwarded-Proto: {scheme}\r\n".encode("latin-1")
        if not self.door.admit(self):
            self._answer_and_linger(pages.refused(503, "The front door has too many connections"))

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_lingering:
            return
        exchange = self._exchange
        if exchange is not None and exchange.takes_body:
            self.since = self.door.now
            used = exchange.send_body(data)
            if used == len(data):
                return
            data = data[used:]
            exchange = self._exchange
        if exchange is None and not self._buffer:
            self.since = self.door.now
        self._buffer = self._buffer + data if self._buffer else data
        if exchange is None:
            self._advance()
        self._update_reading()

    @override
    def eof_received(self) -> bool:
        # A client that is gone looks the same as one that only stopped sending; the upstream must not work for it.
        self._abandon()
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.door.dismiss(self)
        self._abandon()

    @override
    def pause_writing(self) -> None:
        self.is_write_paused = True
        if self._exchange is not None:
            self._exchange.hold_response(True)

    @override
    def resume_writing(self) -> None:
        self.is_write_paused = False
        if self._exchange is not None:
            self._exchange.hold_response(False)
        else:
            self._advance()
            self._update_reading()

    # -- for the exchange

    def take(self, count: Callable[[bytes], int]) -> bytes:
        """Return what has been read and, by `count`, belongs to the request's body; keep the rest."""
        data = self._buffer
        if not data:
            return b""
        used = count(data)
        self._buffer = data[used:]
        self._update_reading()
        return data[:used]

    def hold_reading(self, hold: bool) -> None:
        """Stop reading from the client, or go on."""
        self._is_held = hold
        self._update_reading()

    def end_exchange(self, exchange: Exchange, *, keep: bool) -> None:
        """The response is complete; take the next request, or close."""
        if self._exchange is not exchange:
            return
        self._exchange = None
        self._is_held = False
        self.since = self.door.now
        self.door.finish(exchange)
        if self.transport.is_closing():
            return
        if keep:
            if self._buffer:
                self._advance()
            self._update_reading()
        elif exchange.is_request_done and not self._buffer:
            self._is_lingering = True
            self.transport.close()
        else:
            self._linger()

    def hand_over(self, splice: Splice, rest: bytes, *, upstream_is_full: bool) -> None:
        """The connection has switched protocols and is no longer ours."""
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        self.door.finish(exchange)
        self.door.dismiss(self)
        splice.start(rest, self._buffer, client_is_full=self.is_write_paused, upstream_is_full=upstream_is_full)
        self._buffer = b""

    def abort(self) -> None:
        """Reset the connection: what was sent of a response cannot be taken for all of it."""
        self._forget_exchange()
        self._is_lingering = True
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    # -- for the door

    def close_at_once(self) -> None:
        """The door closes: cut what is in flight."""
        self._abandon()
        self.abort()

    def sweep(self, now: float) -> None:
        """Act when the client has kept us waiting for too long."""
        limits, waited = self.door.limits, now - self.since
        if self._is_lingering:
            if waited > limits.linger_s:
                self.abort()
        elif self._exchange is not None:
            self._sweep_body(waited)
        elif self.is_write_paused:
            if waited > limits.linger_s:
                self.abort()  # it goes on asking and takes no answers
        elif self._buffer:
            if waited > limits.head_s:
                self._answer_and_linger(pages.refused(408, "The request's head did not arrive in time"))
        elif waited > (limits.idle_s if self._served else limits.first_byte_s):
            self._is_lingering = True
            self.transport.close()

    # -- requests

    def _advance(self) -> None:
        """Begin the next request, and further ones while they are answered at once."""
        if self._is_advancing or self._is_lingering:
            return
        self._is_advancing = True
        try:
            while self._buffer and self._exchange is None and not self.is_write_paused:
                if not self._begin_next():
                    break
        finally:
            self._is_advancing = False

    def _begin_next(self) -> bool:
        """Take one request off the buffer; return whether there may be another one to begin."""
        data = self._buffer
        if data[:1] == b"\r":
            data = self._buffer = data.removeprefix(b"\r\n")  # some clients end a body with an extra line break
        end = data.find(b"\r\n\r\n", max(0, self._checked - 3))
        try:
            if end < 0:
                check_incomplete(data, max(0, self._checked - 1))
                self._checked = len(data)
                return False
            self._checked = 0
            plan = self.door.planner.read(data[: end + 2])
        except HeadError as error:
            self._answer_and_linger(pages.refused(error.status, error.message))
            return False
        except RoutingError as error:
            self._answer_and_linger(pages.misrouted(str(error)))
            return False
        self._buffer = data[end + 4 :]
        self._served += 1
        exchange = self._exchange = Exchange(self, plan)
        self.door.begin()
        exchange.start()
        return not self._is_lingering

    def _answer_and_linger(self, answer: pages.Answer) -> None:
        self.door.stats.refused += 1
        self.door.stats.requests += 1
        self.transport.write(pages.render(answer, close=True))
        self._linger()

    def _linger(self) -> None:
        """Send no more, and discard what still comes: closing at once could destroy the answer on its way."""
        self._is_lingering = True
        self._buffer = b""
        self.since = self.door.now
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _sweep_body(self, waited: float) -> None:
        exchange = self._exchange
        assert exchange is not None
        if exchange.is_answered:
            if waited > self.door.limits.linger_s:
                self.abort()
            return
        if not exchange.takes_body or waited <= self.door.limits.api_body_s:
            return
        if exchange.reply.done:
            exchange.abort()  # it has its answer, and nobody wants the rest any more
        elif not exchange.target.sandbox_id and not exchange.reply.began:
            exchange.refuse(pages.refused(408, "The request's body did not arrive in time"))

    def _update_reading(self) -> None:
        pause = self._is_held or len(self._buffer) > _MAX_WAITING
        if pause is not self._is_paused:
            self._is_paused = pause
            if pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _abandon(self) -> None:
        exchange = self._forget_exchange()
        self._is_lingering = True
        if exchange is not None:
            exchange.abandon()

    def _forget_exchange(self) -> Exchange | None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self.door.finish(exchange)
        return exchange
