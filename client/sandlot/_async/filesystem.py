"""Files in a sandbox."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, overload

from sandlot._async.envd import Envd, load_json, parse_answer
from sandlot._async.file_stream import AsyncFileStreamReader
from sandlot._async.io import gather
from sandlot._async.session import Call
from sandlot._async.transport import Limits
from sandlot._async.uploads import check_data, gzip_pieces, multipart_pieces, read_pieces
from sandlot._async.watch_handle import Watching
from sandlot._frames import Message
from sandlot._http import Deadline
from sandlot._uploads import as_bytes, is_plain_name, metadata_headers
from sandlot._versions import FILE_METADATA, RAW_UPLOAD, require
from sandlot._wire import parse_entries, parse_entry_answer, parse_written
from sandlot.config import ConnectionConfig, Username
from sandlot.exceptions import FileNotFoundException, InvalidArgumentException
from sandlot.models import AsyncWriteData, AsyncWriteEntry, EntryInfo, WriteEntry, WriteInfo

T = TypeVar("T")

FILES = "/files"
STREAM_IDLE_S = 60.0
MAX_TOGETHER = 1024 * 1024
"""Files of up to this many bytes in all are sent in one request."""


class Filesystem(Watching):
    """Reads and writes files in the sandbox.

    Relative paths start at the user's home. `user`, in all methods: whose home that is, and who owns what is
    created. `request_timeout`: seconds for the request, 0 for no limit.
    """

    def __init__(self, envd: Envd, config: ConnectionConfig) -> None:
        self._envd = envd
        self._config = config

    @overload
    async def read(
        self,
        path: str,
        format: Literal["text"] = "text",
        user: Username | None = None,
        request_timeout: float | None = None,
        gzip: bool = False,
    ) -> str: ...

    @overload
    async def read(
        self,
        path: str,
        format: Literal["bytes"],
        user: Username | None = None,
        request_timeout: float | None = None,
        gzip: bool = False,
    ) -> bytearray: ...

    @overload
    async def read(
        self,
        path: str,
        format: Literal["stream"],
        user: Username | None = None,
        request_timeout: float | None = None,
        gzip: bool = False,
        stream_idle_timeout: float | None = None,
    ) -> AsyncFileStreamReader: ...

    async def read(
        self,
        path: str,
        format: Literal["text", "bytes", "stream"] = "text",
        user: Username | None = None,
        request_timeout: float | None = None,
        gzip: bool = False,
        stream_idle_timeout: float | None = None,
    ) -> Any:
        """Read a file: as `str` (broken UTF-8 replaced), as `bytearray`, or as a stream of `bytes`.

        `gzip`: have it compressed on its way. For a stream, `request_timeout` limits all of it and only when
        given, `stream_idle_timeout` how long nothing may come (60 seconds unless given, 0 for no limit).
        """
        if format not in ("text", "bytes", "stream"):
            raise InvalidArgumentException(f"format must be 'text', 'bytes' or 'stream', not {format!r}")
        headers = {"Accept-Encoding": "gzip" if gzip else "identity"}
        call = Call("GET", FILES, self._query(path, user), headers)
        if format == "stream":
            idle_s = STREAM_IDLE_S if stream_idle_timeout is None else stream_idle_timeout or None
            limits = Limits(Deadline(request_timeout or None), idle_s)
        else:
            limits = Limits(Deadline(self._config.get_request_timeout(request_timeout)))
        response = await self._envd.request(call, limits, FileNotFoundException)
        stream = AsyncFileStreamReader(self._envd, response)
        if format == "stream":
            return stream
        content = await stream.read_all()
        return content if format == "bytes" else content.decode("utf-8", "replace")

    def _query(self, path: str, user: Username | None) -> dict[str, str]:
        name = self._envd.name_user(user)
        return {"path": path, "username": name} if name else {"path": path}

    async def write(
        self,
        path: str,
        data: AsyncWriteData,
        user: Username | None = None,
        request_timeout: float | None = None,
        gzip: bool = False,
        use_octet_stream: bool | None = None,
        metadata: dict[str, str] | None = None,
    ) -> WriteInfo:
        """Write a file, in place of what it had; missing directories are created.

        Files and iterables are sent as they are read: nothing of them is kept, and `request_timeout` limits how
        long nothing may move. `metadata` replaces the file's own. `gzip`: compress it on its way.
        """
        entry: AsyncWriteEntry = {"path": path, "data": data}
        written = await self.write_files([entry], user, request_timeout, gzip, use_octet_stream, metadata)
        return written[0]

    async def write_files(
        self,
        files: Sequence[WriteEntry | AsyncWriteEntry],
        user: Username | None = None,
        request_timeout: float | None = None,
        gzip: bool = False,
        use_octet_stream: bool | None = None,
        metadata: dict[str, str] | None = None,
    ) -> builtins.list[WriteInfo]:
        """Write several files; as `write`, with the same options for all of them. Returns them in order."""
        headers = metadata_headers(metadata)
        if metadata:
            require(self._envd.version, FILE_METADATA, "file metadata")
        for file in files:
            check_data(file)
        if gzip and use_octet_stream is False:
            raise InvalidArgumentException("gzip needs the octet-stream upload: leave use_octet_stream out")
        if not files:
            return []
        if self._choose_raw(files, gzip, use_octet_stream):
            return await self._upload_each(files, user, request_timeout, gzip, headers)
        return await self._upload_together(list(files), user, request_timeout, headers)

    def _choose_raw(self, files: Sequence[Any], gzip: bool, wanted: bool | None) -> bool:
        sizes = [as_bytes(file["data"]) for file in files]
        in_memory = [size for size in sizes if size is not None]
        raw = wanted
        if raw is None:
            small = len(in_memory) == len(files) and sum(map(len, in_memory)) <= MAX_TOGETHER
            raw = len(files) == 1 or not small or not all(is_plain_name(file["path"]) for file in files)
        if self._envd.version >= RAW_UPLOAD:
            return raw or gzip
        if gzip or len(in_memory) < len(files):
            require(self._envd.version, RAW_UPLOAD, "uploading streams or gzip")
        return False

    async def _upload_each(
        self,
        files: Sequence[WriteEntry | AsyncWriteEntry],
        user: Username | None,
        request_timeout: float | None,
        gzip: bool,
        headers: dict[str, str],
    ) -> builtins.list[WriteInfo]:
        results: dict[int, builtins.list[WriteInfo]] = {}

        async def upload(index: int) -> None:
            file = files[index]
            results[index] = await self._upload_raw(file["path"], file["data"], user, request_timeout, gzip, headers)

        await gather(upload, builtins.list(range(len(files))))
        return [info for index in sorted(results) for info in results[index]]

    async def _upload_raw(
        self,
        path: str,
        data: Any,
        user: Username | None,
        request_timeout: float | None,
        gzip: bool,
        headers: dict[str, str],
    ) -> builtins.list[WriteInfo]:
        headers = {"Content-Type": "application/octet-stream", **headers}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        seconds = self._config.get_request_timeout(request_timeout)
        whole = as_bytes(data)
        if whole is not None and not gzip:
            call = Call("POST", FILES, self._query(path, user), headers, whole)
            return await self._upload(call, Limits(Deadline(seconds)))
        pieces = gzip_pieces(data) if gzip else read_pieces(data)
        try:
            call = Call("POST", FILES, self._query(path, user), headers, pieces)
            return await self._upload(call, Limits(Deadline(None), seconds))
        finally:
            await pieces.aclose()

    async def _upload_together(
        self,
        files: builtins.list[WriteEntry | AsyncWriteEntry],
        user: Username | None,
        request_timeout: float | None,
        headers: dict[str, str],
    ) -> builtins.list[WriteInfo]:
        odd = [file["path"] for file in files if not is_plain_name(file["path"])]
        if odd and len(files) > 1:
            raise InvalidArgumentException(f"{odd[0]!r} cannot go with others: leave use_octet_stream out")
        boundary = os.urandom(16).hex()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", **headers}
        query = self._query(files[0]["path"], user)
        if len(files) > 1:
            del query["path"]  # each part names its own
        pieces = multipart_pieces(files, boundary)
        try:
            call = Call("POST", FILES, query, headers, pieces)
            return await self._upload(call, Limits(Deadline(None), self._config.get_request_timeout(request_timeout)))
        finally:
            await pieces.aclose()

    async def _upload(self, call: Call, limits: Limits) -> builtins.list[WriteInfo]:
        response = await self._envd.request(call, limits, FileNotFoundException)
        content = await AsyncFileStreamReader(self._envd, response).read_all()
        return parse_answer(parse_written, load_json(bytes(content)), "an upload")

    async def list(
        self,
        path: str,
        depth: int | None = 1,
        user: Username | None = None,
        request_timeout: float | None = None,
    ) -> builtins.list[EntryInfo]:
        """List a directory; `depth` levels of it, the directory's own entries being the first."""
        if depth is not None and depth < 1:
            raise InvalidArgumentException("depth should be at least 1")
        request = {"path": path, "depth": depth or 0}
        return await self._call("ListDir", request, parse_entries, user, request_timeout)

    async def exists(self, path: str, user: Username | None = None, request_timeout: float | None = None) -> bool:
        """Whether there is a file or directory."""
        method = "filesystem.Filesystem/Stat"
        return await self._envd.attempt(method, {"path": path}, "not_found", user, request_timeout)

    async def get_info(
        self, path: str, user: Username | None = None, request_timeout: float | None = None
    ) -> EntryInfo:
        """Tell about a file or directory."""
        return await self._call("Stat", {"path": path}, parse_entry_answer, user, request_timeout)

    async def remove(self, path: str, user: Username | None = None, request_timeout: float | None = None) -> None:
        """Remove a file, or a directory with everything in it."""
        await self._call("Remove", {"path": path}, bool, user, request_timeout)

    async def rename(
        self, old_path: str, new_path: str, user: Username | None = None, request_timeout: float | None = None
    ) -> EntryInfo:
        """Rename or move a file or directory."""
        request = {"source": old_path, "destination": new_path}
        return await self._call("Move", request, parse_entry_answer, user, request_timeout)

    async def make_dir(self, path: str, user: Username | None = None, request_timeout: float | None = None) -> bool:
        """Create a directory, and those above it; False when it exists."""
        method = "filesystem.Filesystem/MakeDir"
        return await self._envd.attempt(method, {"path": path}, "already_exists", user, request_timeout)

    async def _call(
        self,
        method: str,
        request: Message,
        parse: Callable[[Message], T],
        user: Username | None,
        request_timeout: float | None,
    ) -> T:
        return await self._envd.call(
            f"filesystem.Filesystem/{method}", request, parse, user, request_timeout, FileNotFoundException
        )
