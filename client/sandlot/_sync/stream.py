# Generated from client/sandlot/_async/stream.py by sandlot._dev.unasync: change that file, not this one.
"""One connection's bytes, and the way to open one: directly or through an HTTP proxy."""

from __future__ import annotations

import binascii
import socket

from sandlot._addresses import has_news, take_news
from sandlot._http import (
    Address,
    BadResponse,
    ConnectFailed,
    Deadline,
    Origin,
    RequestTimedOut,
    ResponseParser,
    request_head,
)
from sandlot._sync_support.io import connect, receive, resolve, send_some, sleep

READ_SIZE = 262_144
CONNECT_TRIES = 4
CONNECT_PAUSE_S = 0.05
ADDRESS_S = 10.0
"""Seconds after which the next of a host's addresses is tried."""


class Stream:
    """A TCP connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def receive(self, timeout: float | None) -> bytes:
        """Return the next bytes, none at the end. Raises OSError, TimeoutError."""
        return receive(self._sock, READ_SIZE, timeout)

    def send(self, data: bytes | memoryview, timeout: float | None) -> bool:
        """Write all of `data`; False when the peer speaks before it has read it. Raises OSError, TimeoutError."""
        view = memoryview(data)
        while view:
            sent = self.send_some(view, timeout)
            if sent == 0:
                return False
            view = view[sent:]
        return True

    def send_some(self, data: memoryview, timeout: float | None) -> int:
        """Write what fits; 0 when nothing does and the peer speaks instead of reading. Raises OSError, TimeoutError."""
        return send_some(self._sock, data, timeout)

    def has_news(self) -> bool:
        """Whether bytes, or the end, wait to be read."""
        return has_news(self._sock)

    def take_news(self) -> bytes | None:
        """Return what can be read right now, nothing at the end of the stream, None if there is none."""
        return take_news(self._sock)

    def close(self) -> None:
        """End the connection at once."""
        self._sock.close()


def open_stream(origin: Origin, proxy: Address | None, deadline: Deadline, tries: int = CONNECT_TRIES) -> Stream:
    """Connect to `origin`, with TLS for https. Raises ConnectFailed, RequestTimedOut, BadResponse.

    A refused or failed connection is tried again: nothing was sent, so nothing can happen twice.
    """
    pause_s = CONNECT_PAUSE_S
    for attempt in range(tries):
        try:
            return _open_once(origin, proxy, deadline)
        except TimeoutError as error:
            raise RequestTimedOut(
                f"no connection to {origin.netloc} within {deadline.seconds} s", while_connecting=True
            ) from error
        except OSError as error:
            if attempt + 1 == tries or not isinstance(error, ConnectionError):
                where = (proxy.origin if proxy else origin).netloc
                raise ConnectFailed(f"{where}: {error.strerror or error}") from error
        sleep(pause_s)
        pause_s *= 2
    raise AssertionError("unreachable")


def _open_once(origin: Origin, proxy: Address | None, deadline: Deadline) -> Stream:
    stream = _dial(proxy.origin if proxy else origin, deadline)
    try:
        if proxy and proxy.origin.scheme == "https":
            stream = _secure(stream, proxy.origin.host, deadline)
        if proxy and origin.scheme == "https":
            _tunnel(stream, origin, proxy, deadline)
        if origin.scheme == "https":
            stream = _secure(stream, origin.host, deadline)
    except BaseException:
        stream.close()
        raise
    return stream


def _dial(origin: Origin, deadline: Deadline) -> Stream:
    addresses = resolve(origin.host, origin.port, deadline.within())
    for address in addresses[:-1]:
        try:
            return Stream(connect(address, deadline.within(ADDRESS_S)))
        except OSError:  # TimeoutError is one
            continue
    return Stream(connect(addresses[-1], deadline.within()))


def _secure(stream: Stream, host: str, deadline: Deadline) -> Stream:
    from sandlot._sync.tls import TlsStream  # ssl is slow to import and most servers are on this machine

    tls = TlsStream(stream, host)
    tls.handshake(deadline)
    return tls


def _tunnel(stream: Stream, origin: Origin, proxy: Address, deadline: Deadline) -> None:
    target = f"{origin.host}:{origin.port}"
    headers = [("Host", target), *proxy_headers(proxy)]
    stream.send(request_head("CONNECT", target, headers), deadline.within())
    parser = ResponseParser()
    while not parser.head_done:
        data = stream.receive(deadline.within())
        parser.feed(data) if data else parser.feed_eof()
    if parser.status != 200:
        raise BadResponse(f"the proxy {proxy.origin.netloc} refused to connect to {target}: HTTP {parser.status}")


def proxy_headers(proxy: Address) -> list[tuple[str, str]]:
    """Return the headers that tell a proxy who asks."""
    if proxy.credentials is None:
        return []
    encoded = binascii.b2a_base64(proxy.credentials.encode(), newline=False).decode()
    return [("Proxy-Authorization", f"Basic {encoded}")]
