# Generated from client/sandlot/_async/file_stream.py by sandlot._dev.unasync: change that file, not this one.
"""A file of the sandbox, read as it arrives."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Self

from sandlot._http import BadResponse, TransportError
from sandlot._sync.envd import Envd
from sandlot._sync.transport import Response
from sandlot.exceptions import FileNotFoundException

GZIP_WINDOW = 31


class FileStreamReader(Iterator[bytes]):
    """The pieces of a file. Read it to its end, use it with `with`, or call `close()`."""

    def __init__(self, envd: Envd, response: Response) -> None:
        self._envd = envd
        self._response = response
        gzipped = response.headers.get("content-encoding", "").lower() == "gzip"
        self._gunzip: Any = zlib.decompressobj(GZIP_WINDOW) if gzipped else None

    def __next__(self) -> bytes:
        try:
            piece = self._next_piece()
        except (TransportError, zlib.error) as error:
            self.close()
            failure = BadResponse(f"the file is not gzip: {error}") if isinstance(error, zlib.error) else error
            raise self._envd.explain(failure, FileNotFoundException) from error
        if not piece:
            raise StopIteration
        return piece

    def _next_piece(self) -> bytes:
        while piece := self._response.chunk():
            plain: bytes = self._gunzip.decompress(piece) if self._gunzip else piece
            if plain:
                return plain
        if self._gunzip is not None and not self._gunzip.eof:
            raise BadResponse("the compressed file ended early")
        return b""

    def read_all(self) -> bytearray:
        """Return the whole rest of the file."""
        whole = bytearray()
        for piece in self:
            whole += piece
        return whole

    def close(self) -> None:
        """Give up what has not been read. May be called again."""
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
