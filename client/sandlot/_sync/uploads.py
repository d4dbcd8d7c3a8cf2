# Generated from client/sandlot/_async/uploads.py by sandlot._dev.unasync: change that file, not this one.
"""Data to upload, in pieces, so that its size never matters."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Generator, Iterable
from typing import Any

from sandlot._sync_support.io import offload
from sandlot._uploads import PIECE, as_bytes, check_piece, multipart_end, part_head
from sandlot.exceptions import InvalidArgumentException
from sandlot.models import SyncWriteEntry, WriteEntry

GZIP_WINDOW = 31


def is_file(data: object) -> bool:
    """Whether data is to be read as a file; one whose `read` is to be awaited is iterated instead."""
    read = getattr(data, "read", None)
    return callable(read) and not inspect.iscoroutinefunction(read)


def check_data(entry: WriteEntry | SyncWriteEntry) -> None:
    """Raise InvalidArgumentException for data that cannot be uploaded."""
    data: object = entry["data"]
    if as_bytes(data) is None and not is_file(data) and not isinstance(data, Iterable):
        raise InvalidArgumentException(
            f"data of {entry['path']!r} must be str, bytes, a file or {Iterable.__name__} of bytes, "
            f"not {type(data).__name__}"
        )


def read_pieces(data: Any) -> Generator[bytes, None, None]:
    """Give data piece by piece; files are read as far as they are sent."""
    if (whole := as_bytes(data)) is not None:
        yield whole
    elif is_file(data):
        while piece := offload(data.read, PIECE):
            yield check_piece(piece)
    else:
        for piece in data:
            yield check_piece(piece)


def gzip_pieces(data: Any) -> Generator[bytes, None, None]:
    """Give data compressed."""
    compressor = zlib.compressobj(wbits=GZIP_WINDOW)
    for piece in read_pieces(data):
        if compressed := offload(compressor.compress, piece):
            yield compressed
    yield offload(compressor.flush)


def multipart_pieces(files: list[WriteEntry | SyncWriteEntry], boundary: str) -> Generator[bytes, None, None]:
    """Give a multipart body with all files."""
    for file in files:
        yield part_head(boundary, file["path"])
        yield from read_pieces(file["data"])
        yield b"\r\n"
    yield multipart_end(boundary)
