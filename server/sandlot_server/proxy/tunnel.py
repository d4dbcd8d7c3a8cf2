"""Connections to a sandbox's own loopback, through its agent's /tunnel."""

from __future__ import annotations

import asyncio

from typing_extensions import override

from sandlot_protocol.http import CONTROL_TOKEN_HEADER, TUNNEL_PROTOCOL
from sandlot_server.proxy.directory import Endpoint
from sandlot_server.proxy.heads import MAX_HEAD, HeadError, parse_response


class TunnelRefused(ConnectionError):
    """The agent opened no tunnel: nothing listens on the port, or the agent has no tunnels."""


class _Handshake(asyncio.Protocol):
    """Reads the agent's answer to the upgrade; what follows it belongs to the tunnel."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._data = b""

    @override
    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0 and len(self._data) < MAX_HEAD:
            return
        try:
            status = parse_response(self._data[: end + 2]).status if end >= 0 else 0
        except HeadError:
            status = 0
        if status == 101:
            self._settle(self._data[end + 4 :])
        else:
            self._fail()

    @override
    def eof_received(self) -> None:
        self._fail()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._fail()

    def _settle(self, rest: bytes) -> None:
        if not self.opened.done():
            self.opened.set_result(rest)

    def _fail(self) -> None:
        if not self.opened.done():
            self.opened.set_exception(TunnelRefused("the agent opened no tunnel"))


async def open_tunnel(endpoint: Endpoint, port: int, protocol: asyncio.Protocol) -> asyncio.Transport:
    """Connect `protocol` to a port on the sandbox's 127.0.0.1 or [::1]; raises OSError when nothing listens there."""
    loop = asyncio.get_running_loop()
    transport, handshake = await loop.create_connection(_Handshake, endpoint.address, endpoint.agent_port)
    try:
        transport.write(_ask(endpoint, port))
        rest = await handshake.opened
    except BaseException:
        handshake.opened.cancel()
        transport.abort()
        raise
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if rest:
        loop.call_soon(protocol.data_received, rest)
    return transport


def _ask(endpoint: Endpoint, port: int) -> bytes:
    return (
        f"GET /tunnel?port={port} HTTP/1.1\r\nHost: {endpoint.sandbox_id}\r\nConnection: Upgrade\r\n"
        f"Upgrade: {TUNNEL_PROTOCOL}\r\n{CONTROL_TOKEN_HEADER}: {endpoint.control_token}\r\n\r\n"
    ).encode("ascii")
