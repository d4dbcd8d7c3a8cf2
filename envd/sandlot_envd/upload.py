"""POST /files: one file or many, written as they stream in."""

from __future__ import annotations

import os
import zlib
from collections.abc import AsyncIterator
from typing import Any

from sandlot_envd.access import check_access, find_request_user
from sandlot_envd.encodings import is_gzip
from sandlot_envd.errors import BadRequest
from sandlot_envd.filesystem.entries import show
from sandlot_envd.http import Request, Response, answer_json
from sandlot_envd.multipart import Part, Reader, find_boundary
from sandlot_envd.paths import resolve
from sandlot_envd.state import AgentState
from sandlot_envd.users import User
from sandlot_envd.writing import write_file
from sandlot_envd.xattrs import parse_headers

STEP = 256 * 1024
"""Bytes unpacked at once."""


async def upload(state: AgentState, request: Request) -> Response:
    """Write what the request carries and answer with what was written. Raises AgentError."""
    check_access(state, request, "write")
    body = _unpack(request.body) if is_gzip(request.headers.get("content-encoding")) else request.body
    delivery = Delivery(state, request, find_request_user(state, request), parse_headers(request.headers))
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/octet-stream":
        await delivery.take_body(body)
    elif kind in ("multipart/form-data", "multipart/mixed"):
        await delivery.take_parts(Reader(body, find_boundary(content_type)))
    else:
        raise BadRequest(
            f"unsupported content type: '{kind[:100]}', expected multipart/form-data or application/octet-stream"
        )
    return answer_json(delivery.written)


class Delivery:
    """The files of one upload. `written` is what the client is told of them."""

    def __init__(self, state: AgentState, request: Request, user: User, metadata: dict[str, str]) -> None:
        self.written: list[dict[str, Any]] = []
        self._state = state
        self._target = request.query.get("path")
        self._user = user
        self._metadata = metadata
        self._paths: set[str] = set()

    async def take_body(self, body: AsyncIterator[bytes]) -> None:
        """Write the whole body to the path in the query."""
        if self._target is None:
            raise BadRequest("the path query parameter is required for an application/octet-stream upload")
        await self._write(self._target, body)

    async def take_parts(self, reader: Reader) -> None:
        """Write each part called `file` to the path in the query or to its own file name; others are skipped."""
        async for part in reader.parts():
            if part.field == "file":
                await self._write(self._find_target(part), aiter(part))

    def _find_target(self, part: Part) -> str:
        if self._target is not None:
            return self._target
        if not part.filename:
            raise BadRequest("a part has no filename, and the request no path")
        return part.filename

    async def _write(self, target: str, body: AsyncIterator[bytes]) -> None:
        path = resolve(target, self._user, self._state.default_workdir)
        if path in self._paths:
            raise BadRequest(
                f"you cannot upload multiple files to the same path '{path}' in one upload request, "
                "only the first specified file was uploaded"
            )
        self._paths.add(path)
        kept = await write_file(path, body, self._user, self._metadata)
        self.written.append(tell(path, kept))


def tell(path: str, metadata: dict[str, str]) -> dict[str, Any]:
    """Return what the HTTP routes say of a written file."""
    told: dict[str, Any] = {"path": show(path), "name": show(os.path.basename(path)), "type": "file"}
    return {**told, "metadata": metadata} if metadata else told


async def _unpack(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Unpack gzip in steps, so that a small body that unpacks to a huge one never fills the memory.

    One member may follow another, as gzip's own program allows.
    """
    unpacker = zlib.decompressobj(wbits=31)
    has_begun = False
    try:
        async for data in body:
            while data:
                if unpacker.eof:
                    unpacker = zlib.decompressobj(wbits=31)
                has_begun = True
                yield unpacker.decompress(data, STEP)
                data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    except zlib.error as error:
        raise BadRequest(f"error decompressing request body: {error}") from error
    if not (has_begun and unpacker.eof):
        raise BadRequest("error decompressing request body: it is cut off")
