"""Data to upload, in pieces, so that its size never matters."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

from sandlot._async.io import offload
from sandlot._uploads import PIECE, as_bytes, check_piece, multipart_end, part_head
from sandlot.exceptions import InvalidArgumentException
from sandlot.models import AsyncWriteEntry, WriteEntry

GZIP_WINDOW = 31


def is_file(data: object) -> bool:
    """Whether data is to be read as a file; one whose `read` is to be awaited is iterated instead."""
    read = getattr(data, "read", None)
    return callable(read) and not inspect.iscoroutinefunction(read)


def check_data(entry: WriteEntry | AsyncWriteEntry) -> None:
    """Raise InvalidArgumentException for data that cannot be uploaded."""
    data: object = entry["data"]
    if as_bytes(data) is None and not is_file(data) and not isinstance(data, AsyncIterable):
        raise InvalidArgumentException(
            f"data of {entry['path']!r} must be str, bytes, a file or {AsyncIterable.__name__} of bytes, "
            f"not {type(data).__name__}"
        )


async def read_pieces(data: Any) -> AsyncGenerator[bytes, None]:
    """Give data piece by piece; files are read as far as they are sent."""
    if (whole := as_bytes(data)) is not None:
        yield whole
    elif is_file(data):
        while piece := await offload(data.read, PIECE):
            yield check_piece(piece)
    else:
        async for piece in data:
            yield check_piece(piece)


async def gzip_pieces(data: Any) -> AsyncGenerator[bytes, None]:
    """Give data compressed."""
    compressor = zlib.compressobj(wbits=GZIP_WINDOW)
    async for piece in read_pieces(data):
        if compressed := await offload(compressor.compress, piece):
            yield compressed
    yield await offload(compressor.flush)


async def multipart_pieces(files: list[WriteEntry | AsyncWriteEntry], boundary: str) -> AsyncGenerator[bytes, None]:
    """Give a multipart body with all files."""
    for file in files:
        yield part_head(boundary, file["path"])
        async for piece in read_pieces(file["data"]):
            yield piece
        yield b"\r\n"
    yield multipart_end(boundary)
