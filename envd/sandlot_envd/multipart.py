"""multipart/form-data, parsed as it streams in: the parts' bodies are never held whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sandlot_envd.errors import BadRequest

MAX_PART_HEAD = 16 * 1024


class Part:
    """One part: its field and file name, and its body, which must be read before the next part is asked for."""

    __slots__ = ("_reader", "field", "filename")

    def __init__(self, field: str, filename: str, reader: Reader) -> None:
        self.field = field
        self.filename = filename
        self._reader = reader

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._reader.read_body()


class Reader:
    """Parts of a body that is delimited by `boundary`. Raises BadRequest for what is malformed or cut off."""

    def __init__(self, body: AsyncIterator[bytes], boundary: bytes) -> None:
        self._body = body
        self._delimiter = b"\r\n--" + boundary
        # As if a line had ended before: the first delimiter may stand at the very start.
        self._buffer = bytearray(b"\r\n")
        self._in_body = False

    async def _fill(self) -> None:
        try:
            self._buffer += await self._body.__anext__()
        except StopAsyncIteration:
            raise BadRequest("the multipart body ends before its last delimiter") from None

    async def parts(self) -> AsyncIterator[Part]:
        """Yield the parts in order; what a consumer leaves unread is skipped."""
        await self._skip_body()
        while not await self._is_last():
            yield await self._read_head()
            if self._in_body:
                await self._skip_body()

    async def _skip_body(self) -> None:
        async for _ in self.read_body():
            pass

    async def _is_last(self) -> bool:
        """After a delimiter: two dashes end the whole body, white space and a line end begin a part."""
        while b"\n" not in self._buffer and not self._buffer.startswith(b"--"):
            if len(self._buffer) > MAX_PART_HEAD:
                raise BadRequest("malformed multipart delimiter")
            await self._fill()
        if self._buffer.startswith(b"--"):
            return True
        line, _, rest = self._buffer.partition(b"\n")
        if line.strip():
            raise BadRequest("malformed multipart delimiter")
        self._buffer = rest
        return False

    async def _read_head(self) -> Part:
        # A part without any header begins with the empty line itself.
        self._buffer[:0] = b"\r\n"
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_PART_HEAD:
                raise BadRequest("the head of a multipart part is too large")
            await self._fill()
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._in_body = True
        field, filename = _parse_disposition(head)
        return Part(field, filename, self)

    async def read_body(self) -> AsyncIterator[bytes]:
        """Yield what comes before the next delimiter."""
        keep = len(self._delimiter) - 1
        while (end := self._buffer.find(self._delimiter)) < 0:
            ready = len(self._buffer) - keep
            if ready > 0:
                data = bytes(self._buffer[:ready])
                del self._buffer[:ready]
                yield data
            await self._fill()
        data = bytes(self._buffer[:end])
        del self._buffer[: end + len(self._delimiter)]
        self._in_body = False
        if data:
            yield data


def _parse_disposition(head: bytes) -> tuple[str, str]:
    for line in head.decode("utf-8", "surrogateescape").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            parameters = parse_parameters(value)
            return parameters.get("name", ""), parameters.get("filename", "")
    return "", ""


def parse_parameters(value: str) -> dict[str, str]:
    """Return the parameters of a header such as `form-data; name="file"; filename="a b"`, quotes undone."""
    parameters: dict[str, str] = {}
    rest = value.partition(";")[2]
    while rest:
        name, _, rest = rest.partition("=")
        text, rest = _take_value(rest.lstrip())
        parameters.setdefault(name.strip(" ;").lower(), text)
        rest = rest.lstrip(" ;")
    return parameters


def _take_value(text: str) -> tuple[str, str]:
    if not text.startswith('"'):
        value, _, rest = text.partition(";")
        return value.strip(), rest
    chars, index = [], 1
    while index < len(text) and text[index] != '"':
        # Only what a quoted string must escape: other backslashes belong to the name.
        if text[index] == "\\" and text[index + 1 : index + 2] in ('"', "\\"):
            index += 1
        chars.append(text[index])
        index += 1
    return "".join(chars), text[index + 1 :]


def find_boundary(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names; raises BadRequest without one."""
    boundary = parse_parameters(content_type).get("boundary", "")
    if not boundary or len(boundary) > 200:
        raise BadRequest("multipart/form-data without a boundary")
    return boundary.encode("latin-1", "replace")
