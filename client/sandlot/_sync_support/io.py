"""The steps that wait, for threads. `_async/io.py` has the same ones for asyncio."""

from __future__ import annotations

import inspect
import select
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sandlot._addresses import SocketAddress, known_addresses, tune
from sandlot.exceptions import InvalidArgumentException

T = TypeVar("T")

OutputHandler = Callable[[T], None]
"""A callback."""

sleep = time.sleep


def resolve(host: str, port: int, timeout: float | None) -> list[SocketAddress]:
    """Return the addresses of a host. Raises OSError when it has none. The resolver's own limits apply."""
    if addresses := known_addresses(host, port):
        return addresses
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def connect(address: SocketAddress, timeout: float | None) -> socket.socket:
    """Open a TCP connection. Raises OSError, TimeoutError."""
    family, sockaddr = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        tune(sock)
        sock.settimeout(timeout)
        sock.connect(sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def receive(sock: socket.socket, size: int, timeout: float | None) -> bytes:
    """Return up to `size` bytes, none at the end of the stream. Raises OSError, TimeoutError."""
    sock.settimeout(timeout)
    return sock.recv(size)


def send_some(sock: socket.socket, data: memoryview, timeout: float | None) -> int:
    """Write what fits and return how much; 0 when nothing does and the peer has spoken instead of reading.

    Raises OSError, TimeoutError.
    """
    sock.setblocking(False)
    try:
        return sock.send(data)
    except BlockingIOError:
        pass
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLOUT)
    if not poll.poll(None if timeout is None else timeout * 1000):
        raise TimeoutError
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0


def offload(function: Callable[..., T], *args: object) -> T:
    """Run something that blocks; here there is nothing to hold up."""
    return function(*args)


def deliver(handler: OutputHandler[T], value: T) -> None:
    """Call a callback. Raises InvalidArgumentException for an async one, which nothing could await."""
    function: Callable[[T], object] = handler  # whatever its annotation says
    result = function(value)
    if isinstance(result, Awaitable):
        if inspect.iscoroutine(result):
            result.close()
        raise InvalidArgumentException(f"{handler!r} is an async callback: use it with AsyncSandbox")


def gather(function: Callable[[T], None], items: list[T]) -> None:
    """Call `function` with each item, one after the other."""
    for item in items:
        function(item)


class TaskOwner:
    """Owns nothing: here nothing runs in the background."""
