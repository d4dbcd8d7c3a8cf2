"""POST /files: files are written in place, as they stream in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import zlib
from collections.abc import AsyncIterator
from typing import Any

from sandlot_envd.access import check_access, find_request_user
from sandlot_envd.errors import BadRequest, translate
from sandlot_envd.filesystem.entries import show
from sandlot_envd.filesystem.folders import make_folders
from sandlot_envd.http import Request, Response, answer_json
from sandlot_envd.multipart import Reader, find_boundary
from sandlot_envd.paths import resolve
from sandlot_envd.state import AgentState
from sandlot_envd.users import User
from sandlot_envd.xattrs import parse_headers, read_metadata, replace_metadata

BUFFER = 1024 * 1024
"""Bytes gathered before a write; a smaller file is written at once, which watchers see as one event."""


async def upload(state: AgentState, request: Request) -> Response:
    """Write what the request carries and answer with what was written. Raises AgentError."""
    check_access(state, request, "write")
    user = find_request_user(state, request)
    metadata = parse_headers(request.headers)
    content_type = request.headers.get("content-type", "")
    body = _decode(request)
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        written = await _write_parts(state, request, Reader(body, find_boundary(content_type)), user, metadata)
    elif kind == "application/octet-stream":
        if not request.query.get("path"):
            raise BadRequest("an application/octet-stream upload needs a path")
        path = resolve(request.query["path"], user, state.default_workdir)
        written = [await write_file(path, body, user, metadata)]
    else:
        raise BadRequest(f"unsupported content type '{kind}': use multipart/form-data or application/octet-stream")
    return answer_json(written)


def _decode(request: Request) -> AsyncIterator[bytes]:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "gzip":
        return _decompress(request.body)
    if encoding not in ("identity", ""):
        raise BadRequest(f"unsupported content encoding '{encoding}': use gzip or none")
    return request.body


async def _decompress(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Unpack gzip in steps, so that a small body that unpacks to a huge one never fills the memory."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        async for data in body:
            while data and not unpacker.eof:
                yield unpacker.decompress(data, BUFFER)
                data = unpacker.unconsumed_tail
    except zlib.error as error:
        raise BadRequest(f"the body is not valid gzip: {error}") from error
    if not unpacker.eof:
        raise BadRequest("the gzip body is cut off")


async def _write_parts(
    state: AgentState, request: Request, reader: Reader, user: User, metadata: dict[str, str]
) -> list[dict[str, Any]]:
    written: dict[str, dict[str, Any]] = {}
    async for part in reader.parts():
        if part.field != "file":
            continue
        path = resolve(request.query.get("path") or part.filename, user, state.default_workdir)
        if path in written:
            raise BadRequest(f"two files of this upload have the same path '{path}'")
        written[path] = await write_file(path, aiter(part), user, metadata)
    return list(written.values())


async def write_file(path: str, body: AsyncIterator[bytes], user: User, metadata: dict[str, str]) -> dict[str, Any]:
    """Write `body` to `path` in place, owned by `user`, with `metadata` and no other; returns what E2B tells of it.

    An existing file keeps its mode. Raises AgentError; what was written before a failure stays, as on E2B.
    """
    fd = _open(path, user)
    try:
        await _copy(body, fd)
        replace_metadata(fd, metadata)
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        raise translate(error, f"error writing file '{path}'") from error
    finally:
        os.close(fd)
    told: dict[str, Any] = {"path": show(path), "name": show(os.path.basename(path)), "type": "file"}
    kept = read_metadata(os.fsencode(path))
    return {**told, "metadata": kept} if kept else told


def _open(path: str, user: User) -> int:
    """Open for writing; the owner is set before the first byte, so that watchers see one order of events."""
    try:
        make_folders(os.path.dirname(path), user)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(path).st_mode):
                raise BadRequest(f"path is a directory: {path}")
            os.chown(path, user.uid, user.gid)
            return os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        os.fchown(fd, user.uid, user.gid)
    except OSError as error:
        raise translate(error, f"error opening file '{path}'") from error
    return fd


async def _copy(body: AsyncIterator[bytes], fd: int) -> None:
    loop = asyncio.get_running_loop()
    buffer = bytearray()
    async for data in body:
        buffer += data
        if len(buffer) >= BUFFER:
            full, buffer = buffer, bytearray()
            await loop.run_in_executor(None, _write_all, fd, full)
    _write_all(fd, buffer)


def _write_all(fd: int, data: bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
