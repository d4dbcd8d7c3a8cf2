"""Where a message's body ends: counted for every chunk that passes, never buffered. Pure."""

from __future__ import annotations

import re
from typing import Final, Protocol

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_EXTENSION: Final = rb"(?:;[\t\x20-\x7e]*+)?"
_FIRST_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})" + _EXTENSION + rb"\r\n")
_NEXT_LINE: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})" + _EXTENSION + rb"\r\n")
_TRAILER: Final = re.compile(rb"(" + _TOKEN + rb"++):[\t\x20-\x7e\x80-\xff]*+\r\n")
_FIRST_PREFIX: Final = re.compile(rb"[0-9A-Fa-f]{1,15}" + _EXTENSION + rb"\r?")
_NEXT_PREFIX: Final = re.compile(rb"\r(?:\n(?:[0-9A-Fa-f]{1,15}" + _EXTENSION + rb"\r?)?)?")
_TRAILER_PREFIX: Final = re.compile(rb"\r|" + _TOKEN + rb"++(?::[\t\x20-\x7e\x80-\xff]*+\r?)?")
_MAX_LINE: Final = 4096
_MAX_TRAILERS: Final = 16 * 1024

FORBIDDEN_TRAILERS: Final = frozenset(
    {
        b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"authorization", b"x-api-key",
        b"x-access-token", b"x-sandlot-control", b"e2b-sandbox-id", b"e2b-sandbox-port", b"e2b-traffic-access-token",
    }
)  # fmt: skip
"""Fields that decide about a message must stand before its body: some readers merge trailers into the head."""


class FramingError(Exception):
    """The body is not framed as its head announced."""


class Framing(Protocol):
    """Follows one body through the bytes of a connection."""

    done: bool
    """Whether the body has ended."""

    def feed(self, data: bytes) -> int:
        """Return how many bytes of `data` belong to the body; raises FramingError."""


class Length:
    """A body of known length."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> int:
        """Return how many bytes of `data` belong to the body."""
        size = len(data)
        if size < self._left:
            self._left -= size
            return size
        used, self._left, self.done = self._left, 0, True
        return used


class UntilClose:
    """A body that ends with its connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> int:
        """Return the length of `data`: all of it belongs to the body."""
        return len(data)


class Chunked:
    """A body in chunks. Their framing is checked so strictly that the bytes can be passed on as they are.

    With `payload` a list, the contents of the chunks are appended to it, for a receiver that knows no chunks.
    """

    __slots__ = ("_carry", "_left", "_line", "_trailers", "done", "payload")

    def __init__(self, payload: list[bytes] | None = None) -> None:
        self._left = 0
        self._carry = b""
        self._line = _FIRST_LINE
        self._trailers = -1
        self.done = False
        self.payload = payload

    def feed(self, data: bytes) -> int:
        """Return how many bytes of `data` belong to the body; raises FramingError."""
        size = len(data)
        if size <= self._left:
            self._left -= size
            if self.payload is not None:
                self.payload.append(data)
            return size
        carried = len(self._carry)
        if carried:
            data, self._carry = self._carry + data, b""
        return self._scan(data) - carried

    def _scan(self, data: bytes) -> int:
        position, size = 0, len(data)
        while self._trailers < 0:
            end = position + self._left
            if self.payload is not None:
                self.payload.append(data[position:end])
            if end >= size:
                self._left = end - size
                return size
            line = self._line.match(data, end)
            if line is None:
                prefix = _FIRST_PREFIX if self._line is _FIRST_LINE else _NEXT_PREFIX
                return self._keep(data, end, prefix, _MAX_LINE)
            self._left, position, self._line = int(line[1], 16), line.end(), _NEXT_LINE
            if self._left == 0:
                self._trailers = 0
        return self._scan_trailers(data, position)

    def _scan_trailers(self, data: bytes, position: int) -> int:
        self._left = 0
        while not data.startswith(b"\r\n", position):
            trailer = _TRAILER.match(data, position)
            if trailer is None:
                return self._keep(data, position, _TRAILER_PREFIX, _MAX_TRAILERS)
            self._trailers += len(trailer[0])
            if trailer[1].lower() in FORBIDDEN_TRAILERS or self._trailers > _MAX_TRAILERS:
                raise FramingError("A trailer is not allowed")
            position = trailer.end()
        self.done = True
        return position + 2

    def _keep(self, data: bytes, start: int, prefix: re.Pattern[bytes], limit: int) -> int:
        """Keep the beginning of a line until the rest of it comes."""
        rest = data[start:]
        self._left = 0
        if len(rest) > limit or (rest and prefix.fullmatch(rest) is None):
            raise FramingError("Malformed chunk")
        self._carry = rest
        return len(data)
