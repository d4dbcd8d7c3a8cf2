"""HTTP/1.1 without I/O: addresses, request heads, the response parser and the ways an exchange can fail."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from .exceptions import InvalidArgumentException

MAX_HEAD = 65_536
"""Bytes of one response head, and of what is not told apart from one."""

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_FORBIDDEN = frozenset("\r\n\0")


class TransportError(Exception):
    """An exchange failed below HTTP. Never seen by users: the edge makes a named exception of it."""


class ConnectFailed(TransportError):
    """No connection came about; nothing was sent."""


class Untrusted(ConnectFailed):
    """The server's certificate is none that we trust, or not its own."""


class ConnectionLost(TransportError):
    """The connection ended before the response was complete."""


class RequestTimedOut(TransportError):
    """A time limit of ours passed; `while_connecting` says that nothing was sent."""

    def __init__(self, message: str, *, while_connecting: bool = False) -> None:
        super().__init__(message)
        self.while_connecting = while_connecting


class BadResponse(TransportError):
    """What came back is not HTTP."""


class Deadline:
    """A point in time that a whole exchange may not pass; with None there is no such point."""

    __slots__ = ("at", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.at = None if seconds is None else time.monotonic() + seconds

    def within(self, idle_s: float | None = None) -> float | None:
        """Seconds the next step may take: what is left, and at most `idle_s`. Raises TimeoutError at the end."""
        if self.at is None:
            return idle_s
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if idle_s is None else min(left, idle_s)

    def or_sooner(self, seconds: float | None) -> Deadline:
        """Return the nearer of this and one `seconds` from now."""
        other = Deadline(seconds)
        if other.at is None or (self.at is not None and self.at <= other.at):
            return self
        return other


class Origin(NamedTuple):
    """What one connection leads to."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == default_port(self.scheme) else f"{host}:{self.port}"


class Address(NamedTuple):
    """A base URL, taken apart."""

    origin: Origin
    path: str
    credentials: str | None = None


def default_port(scheme: str) -> int:
    """Port of a URL that names none."""
    return 443 if scheme == "https" else 80


def parse_url(url: str, what: str = "URL") -> Address:
    """Take an http or https URL apart; raises InvalidArgumentException naming `what`."""
    scheme, separator, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    credentials, _, hostport = netloc.rpartition("@")
    if hostport.startswith("["):
        host, _, port = hostport[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = hostport.partition(":")
    if scheme not in ("http", "https") or not separator or not host or not (port.isdigit() or not port):
        raise InvalidArgumentException(f"{what} must be like http://host:port, not {url!r}")
    number = int(port) if port else default_port(scheme)
    return Address(Origin(scheme, host, number), (slash + path).rstrip("/"), credentials or None)


def quote(text: str, safe: str = "") -> str:
    """Percent-encode everything but unreserved characters and `safe`."""
    keep = _PLAIN.union(safe.encode())
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in keep else f"%{byte:02X}" for byte in data)


def encode_query(query: dict[str, str]) -> str:
    """Return `?a=b&c=d`, or nothing for an empty query."""
    pairs = "&".join(f"{quote(name)}={quote(value, '/')}" for name, value in query.items())
    return f"?{pairs}" if pairs else ""


def request_head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the bytes of a request's head. Raises InvalidArgumentException for a header that would break it."""
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers:
        if not _FORBIDDEN.isdisjoint(name) or not _FORBIDDEN.isdisjoint(value):
            raise InvalidArgumentException(f"header {name!r} must not contain a line break")
        lines.append(f"{name}: {value}")
    try:
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    except UnicodeEncodeError as error:
        raise InvalidArgumentException(f"headers must be Latin-1 text: {error}") from error


class ResponseParser:
    """One response, fed with bytes as they come. `body` collects what the last `feed` brought."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.head_done = False
        self.done = False
        self.reusable = False
        self._head_size = 0
        self._trailing = False
        self._parser: Any = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Parse further bytes; raises BadResponse."""
        if not self.head_done:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as error:
            raise BadResponse("the server switched protocols unasked") from error
        except HttpParserError as error:
            if not self.done:
                raise BadResponse(f"the server's answer is not HTTP/1.1: {error}") from error
            self._trailing = True
        if self._trailing:
            self.reusable = False
        if not self.head_done and self._head_size > MAX_HEAD:
            raise BadResponse("the server's response head is too long")
        if self.done:
            self._parser = None  # it refers back to us

    def feed_eof(self) -> None:
        """The connection ended: a body without a length is complete, anything else is not."""
        framed = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()
        if not self.head_done:
            raise ConnectionLost("the connection ended before a response came")
        if framed:
            raise ConnectionLost("the connection ended in the middle of a response")
        self.done, self._parser = True, None

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        if self.done:
            self._trailing = True  # bytes after the end belong to no request of ours

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.done:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if not self.done:
            self.status = self._parser.get_status_code()
            self.head_done = self.status >= 200

    def on_body(self, data: bytes) -> None:
        if not self.done:
            self.body.append(data)

    def on_message_complete(self) -> None:
        if not self.head_done:
            self.headers.clear()  # an interim response (1xx)
        elif not self.done:
            self.done = True
            self.reusable = self._parser.should_keep_alive()
