# Generated from client/sandlot/_async/transport.py by sandlot._dev.unasync: change that file, not this one.
"""HTTP/1.1 exchanges on kept connections."""

from __future__ import annotations

import atexit
import functools
import os
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from sandlot._http import (
    Address,
    ConnectionLost,
    Deadline,
    Origin,
    RequestTimedOut,
    ResponseParser,
    TransportError,
)
from sandlot._sync.stream import CONNECT_TRIES, Stream, open_stream

MAX_IDLE = 100
"""Idle connections kept for one route. How many are in use at once has no limit of ours."""

MAX_IDLE_S = 300.0
PIECE = 262_144


class SizedBody(NamedTuple):
    """A body in pieces of which it is known how many bytes they are: for servers that take no other."""

    size: int
    pieces: Iterator[bytes]


Body = bytes | SizedBody | Iterator[bytes]


class Route(NamedTuple):
    """What a connection can be used for again."""

    origin: Origin
    proxy: Address | None


class Limits(NamedTuple):
    """How long an exchange may take in all, and how long nothing may happen in it."""

    deadline: Deadline
    idle_s: float | None = None

    def next_step(self) -> float | None:
        """Seconds for the next step; raises TimeoutError."""
        return self.deadline.within(self.idle_s)

    def explain(self) -> TransportError:
        """Say which of the two has passed: silence means that the connection is dead, not that work takes long."""
        if self.idle_s is None or (self.deadline.at is not None and time.monotonic() >= self.deadline.at - 0.01):
            return RequestTimedOut(f"not done within {self.deadline.seconds} s")
        return ConnectionLost(f"nothing came or went for {self.idle_s} s")


class Connection:
    """One connection; it carries one exchange at a time."""

    def __init__(self, route: Route, stream: Stream) -> None:
        self.route = route
        self.stream = stream
        self.idle_since = 0.0
        self._parser = ResponseParser()
        self._sent_all = False

    @property
    def reusable(self) -> bool:
        """Whether the exchange ended cleanly on both sides."""
        return self._parser.reusable and self._sent_all

    def is_stale(self) -> bool:
        """Whether an idle connection should not be used again."""
        return time.monotonic() - self.idle_since > MAX_IDLE_S or self.stream.has_news()

    def begin(self, head: bytes, body: Body, limits: Limits) -> ResponseParser:
        """Send a request and return its response as soon as its head has come. Raises TransportError."""
        self._parser, self._sent_all = ResponseParser(), False
        try:
            self._send(head, body, limits)
            while not self._parser.head_done:
                self._receive(limits)
        except TimeoutError as error:
            raise limits.explain() from error
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        return self._parser

    def _send(self, head: bytes, body: Body, limits: Limits) -> None:
        try:
            if isinstance(body, bytes):
                self._sent_all = self._send_bytes(head, body, limits)
            elif isinstance(body, SizedBody):
                self._sent_all = self._send_pieces(head, body.pieces, limits)
            else:
                self._sent_all = self._send_chunks(head, body, limits)
        except TimeoutError:
            raise
        except OSError:
            # A server that refuses an upload answers, closes and does not read on: its answer counts.
            if not self.stream.has_news():
                raise

    def _send_bytes(self, head: bytes, body: bytes, limits: Limits) -> bool:
        if len(body) <= PIECE:
            return self.stream.send(head + body, limits.next_step())
        view = memoryview(body)
        sent = self.stream.send(head, limits.next_step())
        for start in range(0, len(view), PIECE):
            if not sent or self.stream.has_news():
                return False
            sent = self.stream.send(view[start : start + PIECE], limits.next_step())
        return sent

    def _send_pieces(self, head: bytes, pieces: Iterator[bytes], limits: Limits) -> bool:
        sent = self.stream.send(head, limits.next_step())
        for piece in pieces:
            if not sent or self.stream.has_news():
                return False
            sent = self.stream.send(piece, limits.next_step())
        return sent

    def _send_chunks(self, head: bytes, body: Iterator[bytes], limits: Limits) -> bool:
        sent = self.stream.send(head, limits.next_step())
        for chunk in body:
            if not sent or self.stream.has_news():
                return False
            if chunk:
                sent = self.stream.send(b"%x\r\n%b\r\n" % (len(chunk), chunk), limits.next_step())
        return sent and self.stream.send(b"0\r\n\r\n", limits.next_step())

    def _receive(self, limits: Limits) -> None:
        data = self.stream.receive(limits.next_step())
        self._parser.feed(data) if data else self._parser.feed_eof()

    def next_body(self, limits: Limits) -> bytes:
        """Return further bytes of the response's body, none at its end. Raises TransportError."""
        parser = self._parser
        try:
            while not parser.body and not parser.done:
                self._receive(limits)
        except TimeoutError as error:
            raise limits.explain() from error
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        chunks, parser.body = parser.body, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def close(self) -> None:
        """End the connection at once."""
        self.stream.close()


class Response:
    """A response whose body is still to be read. It owns its connection until the body's end or `close`."""

    def __init__(self, pool: Pool, connection: Connection, parser: ResponseParser, limits: Limits) -> None:
        self.status = parser.status
        self.headers = parser.headers
        self._pool = pool
        self._connection: Connection | None = connection
        self._parser = parser
        self.limits = limits

    def chunk(self) -> bytes:
        """Return the next part of the body, as sent; none at its end. Raises TransportError."""
        if self._connection is None:
            return b""
        try:
            data = self._connection.next_body(self.limits)
        except BaseException:
            self.close()
            raise
        if self._parser.done and not self._parser.body:
            self._release()
        return data

    def read(self) -> bytes:
        """Return the whole body. Raises TransportError."""
        chunks = []
        while data := self.chunk():
            chunks.append(data)
        return b"".join(chunks)

    def _release(self) -> None:
        if self._connection is not None:
            self._pool.put_back(self._connection)
            self._connection = None

    def close(self) -> None:
        """Give up what has not been read: the connection ends, as its next bytes would belong to nobody."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        # Whoever starts a command in the background may forget about it; no event loop is needed for this.
        if self._connection is not None:
            self._connection.close()


class Pool:
    """Connections between two exchanges. Sockets belong to no event loop, so one pool serves them all."""

    def __init__(self) -> None:
        self._idle: dict[Route, deque[Connection]] = {}
        self._pid = os.getpid()

    def exchange(self, route: Route, head: bytes, body: Body, limits: Limits, tries: int = CONNECT_TRIES) -> Response:
        """Send a request and return its response, its body still to come. Raises TransportError."""
        if connection := self._take(route):
            try:
                return self._begin(connection, head, body, limits)
            except ConnectionLost:
                if not head.startswith(b"GET "):
                    raise
                # A kept connection may end at any moment, and asking once more changes nothing.
        connection = Connection(route, open_stream(*route, limits.deadline, tries))
        return self._begin(connection, head, body, limits)

    def _begin(self, connection: Connection, head: bytes, body: Body, limits: Limits) -> Response:
        try:
            parser = connection.begin(head, body, limits)
        except BaseException:
            connection.close()
            raise
        return Response(self, connection, parser, limits)

    def _take(self, route: Route) -> Connection | None:
        if self._pid != os.getpid():  # after a fork these connections are the parent's
            self.close()
            self._pid = os.getpid()
        idle = self._idle.get(route)
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread was faster
                break
            if not connection.is_stale():
                return connection
            connection.close()
        return None

    def put_back(self, connection: Connection) -> None:
        """Keep a connection whose exchange has ended, or close it when it cannot be used again."""
        if not connection.reusable or self._pid != os.getpid():
            connection.close()
            return
        connection.idle_since = time.monotonic()
        idle = self._idle.setdefault(connection.route, deque())
        idle.append(connection)
        if len(idle) > MAX_IDLE:
            idle.popleft().close()

    def close(self) -> None:
        """Close all idle connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


@functools.cache
def shared_pool() -> Pool:
    """Return the process's pool: the SDK's class methods have no object that could own one."""
    pool = Pool()
    atexit.register(pool.close)
    return pool
