"""GET /files: one file, whole or in part."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import AsyncIterator

from sandlot_envd import disk
from sandlot_envd.access import check_access, find_request_user
from sandlot_envd.encodings import wants_gzip
from sandlot_envd.errors import AgentError, BadRequest, NotFound, translate
from sandlot_envd.file_headers import SNIFFED, describe_file
from sandlot_envd.http import FileSlice, Request, Response
from sandlot_envd.paths import resolve
from sandlot_envd.ranges import check_conditions, choose_range, is_special, make_etag
from sandlot_envd.state import AgentState

BOOT_ID = "/proc/sys/kernel/random/boot_id"

SMALL = 64 * 1024
"""A file up to this size is read at once; of a larger one the kernel copies what it sends."""

CHUNK = 256 * 1024

MAX_UNSIZED = 16 * 1024 * 1024
"""The kernel's own files tell no size; this much of one is read."""

PACKING_LEVEL = 1
"""zlib's fastest: three times the speed of its default, for files a tenth larger."""


async def download(state: AgentState, request: Request) -> Response:
    """Answer with the file that the query names. Raises AgentError."""
    check_access(state, request, "read")
    user = find_request_user(state, request)
    path = resolve(request.query.get("path", ""), user, state.default_workdir)
    fd, info = _open(path)
    try:
        response = _answer(request, path, fd, info, _find_boot_id(state, path))
    except OSError as error:
        os.close(fd)
        raise translate(error, f"error reading file '{path}'") from error
    except BaseException:
        os.close(fd)
        raise
    response.on_done = lambda: os.close(fd)
    return response


def _find_boot_id(state: AgentState, path: str) -> bytes | None:
    """Return what the agent shows instead of the host's boot id, which outlives the sandbox's own boots."""
    if state.boot_id and os.path.normpath(path).lstrip("/") == BOOT_ID.lstrip("/"):
        return f"{state.boot_id}\n".encode()
    return None


def _open(path: str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading. Nothing else is opened, since that can wait for ever or have effects."""
    try:
        _require_file(path, os.stat(path))
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"path '{path}' does not exist") from error
    except OSError as error:
        raise translate(error, f"error opening file '{path}'") from error
    try:
        info = os.fstat(fd)
        _require_file(path, info)
    except AgentError:
        os.close(fd)
        raise
    return fd, info


def _require_file(path: str, info: os.stat_result) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise BadRequest(f"path '{path}' is a directory")
    if not stat.S_ISREG(info.st_mode):
        raise BadRequest(f"path '{path}' is not a regular file")


def _answer(request: Request, path: str, fd: int, info: os.stat_result, content: bytes | None) -> Response:
    special = is_special(request.headers)
    packed = wants_gzip(request.headers.get("accept-encoding"), only_identity=special)
    if content is None and info.st_size <= SMALL:
        content = _read_whole(fd, info)
    head = os.pread(fd, SNIFFED, 0) if content is None else content
    headers = describe_file(path, head, info.st_mtime_ns)
    if packed:
        return Response(200, _pack(fd, content), {**headers, "Content-Encoding": "gzip"})
    if content is not None and (not content or len(content) != info.st_size):
        # Empty, made by the kernel as it is read, or changed this moment: nothing to take a part of.
        return Response(200, content, headers)
    return _answer_plain(request, fd, info, content, headers)


def _answer_plain(
    request: Request, fd: int, info: os.stat_result, content: bytes | None, headers: dict[str, str]
) -> Response:
    headers = {**headers, "Accept-Ranges": "bytes", "ETag": make_etag(info)}
    if (status := check_conditions(request.headers, info)) is not None:
        return Response(status, b"", headers)
    wanted = choose_range(request.headers, info)
    if wanted is None:
        return Response(200, FileSlice(fd, 0, info.st_size) if content is None else content, headers)
    start, end = wanted
    if start >= end:
        return Response(416, b"", {**headers, "Content-Range": f"bytes */{info.st_size}"})
    body = FileSlice(fd, start, end - start) if content is None else content[start:end]
    return Response(206, body, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{info.st_size}"})


def _read_whole(fd: int, info: os.stat_result) -> bytes:
    """Read a small file, or one of the kernel's, whose size shows only when it is read."""
    chunks, left = [], MAX_UNSIZED
    while left > 0 and (chunk := os.read(fd, min(left, SMALL))):
        chunks.append(chunk)
        left -= len(chunk)
        if info.st_size and MAX_UNSIZED - left >= info.st_size:
            break
    if left <= 0:
        raise BadRequest("the file has no size, and no end within reach")
    return b"".join(chunks)


async def _pack(fd: int, content: bytes | None) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(PACKING_LEVEL, wbits=31)
    if content is not None:
        yield packer.compress(content) + packer.flush()
        return
    while packed := await disk.work(_pack_next, fd, packer):
        yield packed
    yield packer.flush()


def _pack_next(fd: int, packer: zlib._Compress) -> bytes:
    """Return the next packed bytes, none at the end; read on while the packer keeps all that it is given."""
    while data := os.read(fd, CHUNK):
        if packed := packer.compress(data):
            return packed
    return b""
