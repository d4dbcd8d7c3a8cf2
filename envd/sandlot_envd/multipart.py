"""multipart/form-data (RFC 7578), parsed as it streams in: the parts' bodies are never held whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sandlot_envd.errors import BadRequest

MAX_PART_HEAD = 16 * 1024
MAX_BOUNDARY = 200
"""The RFC allows 70 characters; E2B's parser takes whatever comes."""

MAX_PADDING = 1024
"""White space that may stand between a delimiter and the end of its line."""

_SPECIAL = frozenset('()<>@,;:\\"/[]?=')


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
        self._buffer = b"\r\n"
        self._at = 0
        self._skip = 0
        self._in_body = True
        self._is_over = False

    async def parts(self) -> AsyncIterator[Part]:
        """Yield the parts in order; what a consumer leaves unread is skipped, as is what precedes the first."""
        while True:
            async for _ in self.read_body():
                pass
            if self._is_over:
                return
            yield await self._read_head()

    async def _fill(self) -> None:
        try:
            data = await anext(self._body)
        except StopAsyncIteration:
            raise BadRequest("malformed multipart body: it ends before its last delimiter") from None
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    async def _read_head(self) -> Part:
        while (end := self._find_head_end()) < 0:
            if len(self._buffer) - self._at > MAX_PART_HEAD:
                raise BadRequest("malformed multipart body: the head of a part is too large")
            await self._fill()
        head = self._buffer[self._at : end]
        # The line end between head and body may be that of a delimiter, when there is no body at all.
        self._at, self._skip = end, 2
        self._in_body = True
        return Part(*_parse_head(head), self)

    def _find_head_end(self) -> int:
        """Return where the empty line begins, -1 when it is not there yet. A part may have no headers at all."""
        if self._buffer.startswith(b"\r\n", self._at):
            return self._at
        end = self._buffer.find(b"\r\n\r\n", self._at)
        return end if end < 0 else end + 2

    async def read_body(self) -> AsyncIterator[bytes]:
        """Yield what comes before the next delimiter, nothing once that is behind."""
        while self._in_body:
            start, end = self._search()
            data = self._buffer[self._at + self._skip : start]
            self._skip = max(0, self._skip - (start - self._at))
            self._at = start
            if end:
                self._is_over = self._buffer.endswith(b"--", start, end)
                self._at, self._in_body = end, False
            if data:
                yield data
            elif not end:
                await self._fill()

    def _search(self) -> tuple[int, int]:
        """Return where certain data ends and, if that is a delimiter, where it ends itself, else 0."""
        position = self._at
        while (start := self._buffer.find(self._delimiter, position)) >= 0:
            end = self._judge(start + len(self._delimiter))
            if end is None:
                return start, 0
            if end:
                return start, end
            position = start + 1
        # The last bytes may be the beginning of a delimiter, but only from a line end on.
        start = self._buffer.find(b"\r", max(self._at, len(self._buffer) - len(self._delimiter) + 1))
        return (len(self._buffer) if start < 0 else start), 0

    def _judge(self, position: int) -> int | None:
        """Return where the delimiter that reaches to `position` ends, 0 when it is none, None when more must come.

        Two dashes end the whole body; else nothing but white space may stand before the end of the line.
        """
        rest = self._buffer[position : position + MAX_PADDING]
        if rest.startswith(b"--"):
            return position + 2
        line, newline, _ = rest.partition(b"\n")
        if newline:
            return 0 if line.strip(b" \t\r") else position + len(line) + 1
        is_open = rest == b"-" or (len(rest) < MAX_PADDING and not rest.strip(b" \t\r"))
        return None if is_open else 0


def _parse_head(head: bytes) -> tuple[str, str]:
    """Return the field and the file name."""
    for line in head.decode("utf-8", "surrogateescape").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            parameters = parse_parameters(value)
            return parameters.get("name", ""), _read_extended(parameters) or parameters.get("filename", "")
    return "", ""


def _read_extended(parameters: dict[str, str]) -> str:
    """Return the name that `filename*` gives in RFC 5987's form, "" without one."""
    charset, _, rest = parameters.get("filename*", "").partition("'")
    if charset.lower() not in ("utf-8", "us-ascii"):
        return ""
    from urllib.parse import unquote

    return unquote(rest.partition("'")[2], errors="surrogateescape")


def parse_parameters(value: str) -> dict[str, str]:
    """Return the parameters of a header such as `form-data; name="file"; filename="a b"`, quotes undone."""
    parameters: dict[str, str] = {}
    rest = value.partition(";")[2]
    while rest:
        name, _, rest = rest.partition("=")
        text, rest = _take_value(rest.lstrip())
        parameters.setdefault(name.strip(" \t;").lower(), text)
        rest = rest.lstrip(" \t;")
    return parameters


def _take_value(text: str) -> tuple[str, str]:
    """Return the value at the start of `text` and what follows it."""
    if not text.startswith('"'):
        value, _, rest = text.partition(";")
        return value.strip(), rest
    chars, index = [], 1
    while index < len(text) and text[index] != '"':
        # A backslash before anything but a special character belongs to the name, as in C:\dev.
        if text[index] == "\\" and text[index + 1 : index + 2] in _SPECIAL:
            index += 1
        chars.append(text[index])
        index += 1
    return "".join(chars), text[index + 1 :]


def find_boundary(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names; raises BadRequest without one."""
    boundary = parse_parameters(content_type).get("boundary", "")
    if not boundary or len(boundary) > MAX_BOUNDARY:
        raise BadRequest("multipart body without a usable boundary in its Content-Type")
    return boundary.encode("latin-1", "replace")
