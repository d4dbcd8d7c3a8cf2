"""The envelopes of Connect's streams: one byte of flags, four of length, then the message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from struct import Struct

from sandlot_envd.errors import BadRequest, ResourceExhausted, Unimplemented

COMPRESSED = 0x01
END_OF_STREAM = 0x02
MAX_MESSAGE = 64 * 1024 * 1024

_HEAD = Struct(">BI")


def frame(payload: bytes, flags: int = 0) -> bytes:
    """Return `payload` in its envelope."""
    return _HEAD.pack(flags, len(payload)) + payload


async def read_frames(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the payloads of a request's body.

    Raises BadRequest for a frame that is cut off or has unknown flags, ResourceExhausted for one that is too large,
    Unimplemented for a compressed one (compression is never offered).
    """
    buffer = bytearray()
    async for data in body:
        buffer += data
        while (payload := _take(buffer)) is not None:
            yield payload
    if buffer:
        raise BadRequest("protocol error: the stream ends within a message")


def _take(buffer: bytearray) -> bytes | None:
    if len(buffer) < _HEAD.size:
        return None
    flags, length = _HEAD.unpack_from(buffer)
    if flags & COMPRESSED:
        raise Unimplemented("compressed messages are not supported")
    if flags:
        raise BadRequest(f"protocol error: unknown flags {flags:#04x} on a message")
    if length > MAX_MESSAGE:
        raise ResourceExhausted(f"a message of {length} bytes is larger than {MAX_MESSAGE}")
    end = _HEAD.size + length
    if len(buffer) < end:
        return None
    payload = bytes(buffer[_HEAD.size : end])
    del buffer[:end]
    return payload
