"""Messages of the Connect protocol: a flag byte, four bytes of length, JSON."""

from __future__ import annotations

import json
from typing import Any

from ._errors import RpcError
from ._http import BadResponse

Message = dict[str, Any]
"""A protobuf message in its JSON form."""

COMPRESSED = 1
END = 2
MAX_FRAME = 64 * 1024 * 1024
_HEAD = 5


def encode_frame(message: Message) -> bytes:
    """Return one message as it travels in a stream."""
    payload = json.dumps(message).encode()
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def decode_json(data: bytes, what: str) -> Message:
    """Return a JSON object. Raises BadResponse naming `what`."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BadResponse(f"{what} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadResponse(f"{what} is not a JSON object")
    return value


class FrameReader:
    """Cuts a stream's bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0
        self.ended = False

    def feed(self, data: bytes) -> None:
        """Add further bytes of the stream."""
        del self._buffer[: self._start]
        self._start = 0
        self._buffer += data

    def next_message(self) -> Message | None:
        """Return the next whole message, or None: feed more, unless `ended`. Raises RpcError, BadResponse."""
        head = self._buffer[self._start : self._start + _HEAD]
        if len(head) < _HEAD or self.ended:
            return None
        flags, length = head[0], int.from_bytes(head[1:], "big")
        if flags & COMPRESSED or flags > END or length > MAX_FRAME:
            raise BadResponse(f"a stream's frame has flags {flags} and {length} bytes")
        begin, end = self._start + _HEAD, self._start + _HEAD + length
        if len(self._buffer) < end:
            return None
        self._start = end
        message = decode_json(bytes(self._buffer[begin:end]), "a stream's message")
        if flags & END:
            self.ended = True
            raise_end_error(message)
            return None
        return message


def raise_end_error(end: Message) -> None:
    """Raise the error that a stream's end frame carries, if any."""
    error = end.get("error")
    if isinstance(error, dict):
        raise RpcError(str(error.get("code", "unknown")), str(error.get("message", "")))
