"""A file of the sandbox, read as it arrives."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import Any, Self

from sandlot._async.envd import Envd
from sandlot._async.transport import Response
from sandlot._http import BadResponse, TransportError
from sandlot.exceptions import FileNotFoundException

GZIP_WINDOW = 31


class AsyncFileStreamReader(AsyncIterator[bytes]):
    """The pieces of a file. Read it to its end, use it with `async with`, or call `aclose()`."""

    def __init__(self, envd: Envd, response: Response) -> None:
        self._envd = envd
        self._response = response
        gzipped = response.headers.get("content-encoding", "").lower() == "gzip"
        self._gunzip: Any = zlib.decompressobj(GZIP_WINDOW) if gzipped else None

    async def __anext__(self) -> bytes:
        try:
            piece = await self._next_piece()
        except (TransportError, zlib.error) as error:
            await self.aclose()
            failure = BadResponse(f"the file is not gzip: {error}") if isinstance(error, zlib.error) else error
            raise await self._envd.explain(failure, FileNotFoundException) from error
        if not piece:
            raise StopAsyncIteration
        return piece

    async def _next_piece(self) -> bytes:
        while piece := await self._response.chunk():
            plain: bytes = self._gunzip.decompress(piece) if self._gunzip else piece
            if plain:
                return plain
        if self._gunzip is not None and not self._gunzip.eof:
            raise BadResponse("the compressed file ended early")
        return b""

    async def read_all(self) -> bytearray:
        """Return the whole rest of the file."""
        whole = bytearray()
        async for piece in self:
            whole += piece
        return whole

    async def aclose(self) -> None:
        """Give up what has not been read. May be called again."""
        await self._response.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
