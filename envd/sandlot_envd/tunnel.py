"""Raw bytes to a port on the sandbox's own loopback, for the front door: services bound there stay reachable."""

from __future__ import annotations

import asyncio
import contextlib

from sandlot_envd.errors import BadRequest
from sandlot_envd.http import Request, Response, Routes, Takeover, answer_json
from sandlot_envd.state import AgentState
from sandlot_protocol.http import TUNNEL_PROTOCOL

DIAL_S = 5.0
LOOPBACKS = ("127.0.0.1", "::1")


def routes(state: AgentState) -> Routes:
    """Return /tunnel, a control route."""

    async def tunnel(request: Request) -> Response:
        headers = request.headers
        wants_upgrade = "upgrade" in headers.get("connection", "").lower()
        if not wants_upgrade or headers.get("upgrade", "").lower() != TUNNEL_PROTOCOL:
            raise BadRequest(f"this route wants 'Connection: Upgrade' and 'Upgrade: {TUNNEL_PROTOCOL}'")
        inner = await dial(_read_port(request))
        if inner is None:
            return answer_json({"code": 502, "message": "port is not open"}, 502)

        def adopt(outer: asyncio.Transport, received: bytes) -> asyncio.BaseProtocol:
            return inner.join(outer, received)

        return Takeover(adopt, TUNNEL_PROTOCOL)

    return {("GET", "/tunnel"): tunnel}


def _read_port(request: Request) -> int:
    text = request.query.get("port", "")
    if not (text.isascii() and text.isdigit() and len(text) < 6) or not 0 < int(text) < 65536:
        raise BadRequest(f"'{text}' is not a port")
    return int(text)


class Side(asyncio.Protocol):
    """One end of a tunnel: what it receives goes out at the other end, with back-pressure and half-close."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._other: Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold what arrives until the other end is known."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()

    def join(self, outer: asyncio.Transport, received: bytes) -> Side:
        """Return the protocol for the other end's transport, connected to this one."""
        assert self.transport is not None
        side = Side()
        side.transport, side._other, self._other = outer, self, side
        if received:
            self.transport.write(received)
        self.transport.resume_reading()
        return side

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self._other is not None and self._other.transport is not None:
            self._other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the half-close on and keep the other direction open."""
        if self._other is not None and self._other.transport is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._other.transport.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """One end gone is both gone: cut after an error, closed after what is still to be written."""
        if self._other is not None and self._other.transport is not None:
            if error is not None:
                self._other.transport.abort()
            else:
                self._other.transport.close()

    def pause_writing(self) -> None:
        """This end takes no more for now: stop reading the other."""
        if self._other is not None and self._other.transport is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        """This end takes more again."""
        if self._other is not None and self._other.transport is not None and not self._other.transport.is_closing():
            self._other.transport.resume_reading()


async def dial(port: int) -> Side | None:
    """Connect to `port` on either loopback address; None when nothing listens there."""
    loop = asyncio.get_running_loop()
    for address in LOOPBACKS:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(DIAL_S):
                _, side = await loop.create_connection(Side, address, port)
                return side
    return None
