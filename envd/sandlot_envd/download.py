"""GET /files: one file, whole or in part."""

from __future__ import annotations

import asyncio
import os
import stat
import time
import zlib
from collections.abc import AsyncIterator
from urllib.parse import quote

from sandlot_envd.access import check_access, find_request_user
from sandlot_envd.errors import AgentError, BadRequest, NotFound, translate
from sandlot_envd.http import FileSlice, Request, Response
from sandlot_envd.paths import resolve
from sandlot_envd.state import AgentState

BOOT_ID = "/proc/sys/kernel/random/boot_id"
CHUNK = 256 * 1024

TYPES = {
    "css": "text/css", "csv": "text/csv", "gif": "image/gif", "htm": "text/html", "html": "text/html",
    "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript", "json": "application/json",
    "md": "text/markdown", "mjs": "text/javascript", "mp3": "audio/mpeg", "mp4": "video/mp4", "pdf": "application/pdf",
    "png": "image/png", "svg": "image/svg+xml", "txt": "text/plain", "wasm": "application/wasm",
    "webp": "image/webp", "xml": "text/xml", "zip": "application/zip",
}  # fmt: skip
"""What browsers need told; the rest is text or bytes, by a look at it. Never read from the image's own tables."""


class NotAcceptable(AgentError):
    """The client takes no encoding that the agent has."""

    status = 406


async def download(state: AgentState, request: Request) -> Response:
    """Answer with the file that the query names. Raises AgentError."""
    check_access(state, request, "read")
    user = find_request_user(state, request)
    path = resolve(request.query.get("path", ""), user, state.default_workdir)
    if os.path.normpath(path) == BOOT_ID and state.boot_id:
        return Response(200, f"{state.boot_id}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"})
    fd = _open(path)
    try:
        response = _answer(request, fd, path)
    except BaseException:
        os.close(fd)
        raise
    response.on_done = lambda: os.close(fd)
    return response


def _open(path: str) -> int:
    """Open a file for reading; never waits, as opening a pipe would."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"path '{path}' does not exist") from error
    except (OSError, ValueError) as error:
        raise _explain(error, path) from error
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    raise BadRequest(f"path '{path}' is a directory" if stat.S_ISDIR(mode) else f"path '{path}' is not a regular file")


def _explain(error: OSError | ValueError, path: str) -> AgentError:
    if isinstance(error, ValueError):
        return BadRequest(f"path '{path!r}' cannot be: {error}")
    return translate(error, f"error opening file '{path}'")


def _answer(request: Request, fd: int, path: str) -> Response:
    from sandlot_envd.ranges import choose_range, is_unchanged, make_etag

    info = os.fstat(fd)
    headers = _describe(path, fd, info)
    if info.st_size == 0:
        # Empty, or one of the kernel's files, whose size shows only when it is read.
        return Response(200, _read_rest(fd), headers)
    headers |= {"Accept-Ranges": "bytes", "ETag": make_etag(info)}
    if is_unchanged(request.headers, info):
        return Response(304, b"", headers)
    wanted = choose_range(request.headers, info)
    if wanted is None:
        if _wants_gzip(request.headers):
            return Response(200, _compress(fd), headers | {"Content-Encoding": "gzip"})
        return Response(200, FileSlice(fd, 0, info.st_size), headers)
    start, end = wanted
    if start >= end:
        return Response(416, b"", headers | {"Content-Range": f"bytes */{info.st_size}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{info.st_size}"
    return Response(206, FileSlice(fd, start, end - start), headers)


def _describe(path: str, fd: int, info: os.stat_result) -> dict[str, str]:
    name = os.path.basename(path)
    plain = name.isascii() and name.isprintable() and not set(name) & set('"\\ ;')
    filename = f"filename={name}" if plain else f"filename*=utf-8''{quote(os.fsencode(name))}"
    return {
        "Content-Type": _find_type(name, fd),
        "Content-Disposition": f"inline; {filename}",
        "Vary": "Accept-Encoding",
        "Last-Modified": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(info.st_mtime)),
    }


def _find_type(name: str, fd: int) -> str:
    known = TYPES.get(name.rpartition(".")[2].lower()) if "." in name else None
    if known is None:
        head = os.pread(fd, 512, 0)
        known = "application/octet-stream" if b"\0" in head or not _is_text(head) else "text/plain"
    return f"{known}; charset=utf-8" if known.startswith("text/") else known


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # a character cut in two at the end
    return True


def _wants_gzip(headers: dict[str, str]) -> bool:
    """Whether to compress: only for clients that take nothing but gzip.

    Both SDKs always *accept* gzip; compressing for them would cost far more time than a local connection saves.
    Asked for explicitly, they name gzip alone.
    """
    accepted = {part.partition(";")[0].strip(): part for part in headers.get("accept-encoding", "").lower().split(",")}
    refuses_identity = "q=0" in accepted.get("identity", "").replace("q=0.", "").replace(" ", "")
    if "gzip" in accepted:
        return refuses_identity or set(accepted) == {"gzip"}
    if refuses_identity:
        raise NotAcceptable("only identity and gzip are offered")
    return False


def _read_rest(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, CHUNK):
        chunks.append(chunk)
        if len(chunks) > 64:
            raise BadRequest("the file has no size and no end")
    return b"".join(chunks)


async def _compress(fd: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    packer = zlib.compressobj(6, wbits=31)
    while data := await loop.run_in_executor(None, os.read, fd, CHUNK):
        if packed := await loop.run_in_executor(None, packer.compress, data):
            yield packed
    yield packer.flush()
