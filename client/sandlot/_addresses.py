"""Which socket addresses a host name means, as far as that can be told without asking a resolver."""

from __future__ import annotations

import errno
import socket
from typing import Any

SocketAddress = tuple[socket.AddressFamily, Any]

_LOOPBACK = ("127.0.0.1", "::1")


def known_addresses(host: str, port: int) -> list[SocketAddress]:
    """Return the addresses of an IP literal or of localhost and its subdomains; else nothing: ask a resolver.

    Many systems do not resolve `*.localhost`, which RFC 6761 reserves for the loopback interface.
    """
    name = host.rstrip(".").lower()
    hosts = _LOOPBACK if name == "localhost" or name.endswith(".localhost") else (host,)
    return [address for each in hosts if (address := _parse_literal(each, port)) is not None]


def _parse_literal(host: str, port: int) -> SocketAddress | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return family, (host, port)
    return None


def tune(sock: socket.socket) -> None:
    """Send small requests at once, as every exchange of ours begins with one."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOPROTOOPT):  # not TCP, in tests
            raise


def take_news(sock: socket.socket) -> bytes | None:
    """Return what can be read right now, nothing at the end of the stream, None if there is none."""
    sock.setblocking(False)
    try:
        return sock.recv(65_536)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def has_news(sock: socket.socket) -> bool:
    """Whether an idle connection can be read: it was closed, or bytes came that nobody asked for."""
    sock.setblocking(False)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
