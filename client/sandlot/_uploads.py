"""What is the same for every upload: checks, headers, the parts of a multipart body."""

from __future__ import annotations

import re
from typing import Any

from .exceptions import InvalidArgumentException

PIECE = 262_144
"""Bytes read from a file at a time."""

METADATA_PREFIX = "X-Metadata-"

_METADATA_KEY = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_METADATA_VALUE = re.compile(r"[\x20-\x7e]*")
_PLAIN_NAME = re.compile(r"[\x20-\x7e]+")


def metadata_headers(metadata: dict[str, str] | None) -> dict[str, str]:
    """Return the headers that carry a file's metadata. Raises InvalidArgumentException for what no header can."""
    for key, value in (metadata or {}).items():
        if not _METADATA_KEY.fullmatch(key):
            raise InvalidArgumentException(f"metadata key {key!r} must be of letters, digits and !#$%&'*+-.^_`|~")
        if not _METADATA_VALUE.fullmatch(value):
            raise InvalidArgumentException(f"the metadata value of {key!r} must be printable ASCII")
    return {METADATA_PREFIX + key: value for key, value in (metadata or {}).items()}


def as_bytes(data: Any) -> bytes | None:
    """Return data that is in memory as bytes, None for what has to be read."""
    if isinstance(data, str):
        return data.encode()
    return bytes(data) if isinstance(data, bytes | bytearray | memoryview) else None


def check_piece(piece: object) -> bytes:
    """Return one piece of an upload as bytes; text files give text."""
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, bytes | bytearray | memoryview):
        return bytes(piece)
    raise InvalidArgumentException(f"data to upload must come in bytes, not in {type(piece).__name__}")


def is_plain_name(path: str) -> bool:
    """Whether a path can be the file name of a multipart field without any escaping."""
    return bool(_PLAIN_NAME.fullmatch(path)) and '"' not in path and "\\" not in path


def part_head(boundary: str, path: str) -> bytes:
    """Return what comes before a file in a multipart body."""
    disposition = f'Content-Disposition: form-data; name="file"; filename="{path}"'
    return f"--{boundary}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()


def multipart_end(boundary: str) -> bytes:
    """Return what closes a multipart body."""
    return f"--{boundary}--\r\n".encode()
