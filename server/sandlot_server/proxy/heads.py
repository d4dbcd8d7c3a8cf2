"""Heads of requests and responses: strict parsing, and the form in which they are passed on. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

MAX_HEAD: Final = 64 * 1024
"""Largest head that is accepted, in bytes."""

NO_BODY: Final = frozenset({204, 304})
"""Statuses of responses that have no body, whatever their fields say."""

_CACHEABLE: Final = 2048
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb"{1,32}) ([\x21\x22\x24-\x7e]+) HTTP/([0-9])\.([0-9])\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})( [\t\x20-\x7e\x80-\xff]*)?\r\n")
_FIELD: Final = rb"(" + _TOKEN + rb"++):([\t\x20-\x7e\x80-\xff]*+)\r\n"
_FIELDS: Final = re.compile(rb"(?:" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+")
_EACH_FIELD: Final = re.compile(_FIELD)
_BARE_BREAK: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")

SINGLE: Final = frozenset(
    {
        b"host", b"content-length", b"transfer-encoding", b"e2b-sandbox-id", b"e2b-sandbox-port",
        b"e2b-traffic-access-token", b"x-access-token", b"x-api-key", b"authorization", b"expect",
    }
)  # fmt: skip
"""Fields that must not be repeated: two readers could each believe another one."""

_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
        b"upgrade", b"http2-settings",
    }
)  # fmt: skip
_UNTRUSTED: Final = frozenset(
    {b"x-sandlot-control", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}
)
_REQUEST_UNWANTED: Final = _HOP | _UNTRUSTED
_RESPONSE_UNWANTED: Final = _HOP | {b"x-sandlot-control"}
_REWRITTEN: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})
_NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
_RESPONSE_SINGLE: Final = frozenset({b"content-length", b"transfer-encoding"})


class HeadError(Exception):
    """A head that is refused: `status` is what a client gets when it was its own."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class RequestFields(NamedTuple):
    """The header fields of a request that the door acts on, and those that it passes on."""

    host: bytes
    sandbox_id: bytes | None
    sandbox_port: bytes | None
    traffic_token: bytes | None
    has_api_key: bool
    content_length: int | None
    chunked: bool
    close: bool
    expects: bool
    """Whether the client may wait for an interim response before it sends the body."""
    upgrade: bytes | None
    """Value of `Upgrade`, when `Connection` asks for it."""
    kept: bytes
    """The fields for the upstream: no hop-by-hop ones, none that clients must not send."""


class Request(NamedTuple):
    """A request's head."""

    method: bytes
    target: bytes
    """In origin form (or `*`)."""
    is_http_1_0: bool
    fields: RequestFields
    block: bytes
    """All fields as they came."""


class ResponseFields(NamedTuple):
    """The header fields of a response that the door acts on, and those that it passes on."""

    content_length: int | None
    chunked: bool
    close: bool
    upgrade: bytes | None
    kept: bytes


class Response(NamedTuple):
    """A response's head."""

    status: int
    line: bytes
    """The status line with its line break, as HTTP/1.1."""
    is_http_1_0: bool
    fields: ResponseFields
    as_is: bool
    """Whether the client may have the head as it came."""
    plain_length: int
    """Length of the body when nothing but that many bytes follows, else -1."""


def parse_request(head: bytes) -> Request:
    """Parse a head, given without its empty line; raises HeadError."""
    if len(head) > MAX_HEAD:
        raise HeadError("The request's head is too large", 431)
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise HeadError("Malformed request line")
    method, target, major, minor = line.groups()
    if major != b"1" or minor not in b"01":
        raise HeadError("This server speaks HTTP/1.1", 505)
    block = head[line.end() :]
    fields = _request_fields(block) if len(block) > _CACHEABLE else _cached_request_fields(block)
    if minor == b"0" and fields.chunked:
        raise HeadError("HTTP/1.0 has no Transfer-Encoding")
    return Request(method, _origin_form(method, target, fields.host), minor == b"0", fields, block)


def parse_response(head: bytes) -> Response:
    """Parse a head, given without its empty line; raises HeadError. Heads seen before cost one look-up."""
    return _parse_response(head) if len(head) > _CACHEABLE else _cached_response(head)


def _parse_response(head: bytes) -> Response:
    if len(head) > MAX_HEAD:
        raise HeadError("The response's head is too large")
    match = _STATUS_LINE.match(head)
    if match is None:
        raise HeadError("Malformed status line")
    old = match[1] == b"0"
    line = b"HTTP/1.1 %b%b\r\n" % (match[2], match[3] or b" ")
    block = head[match.end() :]
    fields = _response_fields(block)
    status, as_is = int(match[2]), line == match[0] and fields.kept == block
    is_plain = as_is and status >= 200 and status not in NO_BODY and fields.content_length is not None
    return Response(status, line, old, fields, as_is, fields.content_length or 0 if is_plain else -1)


def check_incomplete(data: bytes, start: int = 0) -> None:
    """Raise HeadError when the beginning of a head can no longer become a valid one; before `start` it was checked."""
    if len(data) > MAX_HEAD:
        raise HeadError("The request's head is too large", 431)
    if _BARE_BREAK.search(data, start):
        raise HeadError("Malformed request head")


def find_field(block: bytes, name: bytes) -> str:
    """Return the value of the first field of that lower-case name, "" when there is none."""
    for key, value in _EACH_FIELD.findall(block):
        if key.lower() == name:
            return bytes(value).strip(b" \t").decode("latin-1")
    return ""


def replace_host(head: bytes, host: bytes) -> bytes:
    """Return the head with another Host, the client's standing in X-Forwarded-Host."""
    line, _, block = head.partition(b"\r\n")
    out = [line + b"\r\n"]
    for name, value in _EACH_FIELD.findall(block):
        if name.lower() == b"host":
            out.append(b"Host: %b\r\nX-Forwarded-Host:%b\r\n" % (host, value))
        else:
            out.append(b"%b:%b\r\n" % (name, value))
    return b"".join(out)


def name_sandbox(head: bytes, sandbox_id: bytes) -> bytes:
    """Return the head with this E2b-Sandbox-Id, by which an agent knows that it is meant, and with no other."""
    line, _, block = head.partition(b"\r\n")
    kept = [b"%b:%b\r\n" % field for field in _EACH_FIELD.findall(block) if field[0].lower() != b"e2b-sandbox-id"]
    return b"%b\r\n%bE2b-Sandbox-Id: %b\r\n" % (line, b"".join(kept), sandbox_id)


def _request_fields(block: bytes) -> RequestFields:
    seen, kept = _sift(block, SINGLE, _REQUEST_UNWANTED)
    host = seen.get(b"host")
    if not host:
        raise HeadError("The Host header is missing")
    options = _connection_options(seen)
    upgrade = seen.get(b"upgrade") if b"upgrade" in options else None
    return RequestFields(
        host=host,
        sandbox_id=seen.get(b"e2b-sandbox-id"),
        sandbox_port=seen.get(b"e2b-sandbox-port"),
        traffic_token=seen.get(b"e2b-traffic-access-token"),
        has_api_key=b"x-api-key" in seen,
        content_length=_content_length(seen),
        chunked=_is_chunked(seen),
        close=b"close" in options,
        expects=b"expect" in seen,
        upgrade=None if upgrade is None or b"h2c" in upgrade.lower() else upgrade,
        kept=kept,
    )


def _response_fields(block: bytes) -> ResponseFields:
    seen, kept = _sift(block, _RESPONSE_SINGLE, _RESPONSE_UNWANTED)
    return ResponseFields(
        content_length=_content_length(seen),
        chunked=_is_chunked(seen),
        close=b"close" in _connection_options(seen),
        upgrade=seen.get(b"upgrade"),
        kept=kept,
    )


_cached_request_fields: Final[Callable[[bytes], RequestFields]] = lru_cache(1024)(_request_fields)
_cached_response: Final[Callable[[bytes], Response]] = lru_cache(1024)(_parse_response)


def _sift(block: bytes, single: frozenset[bytes], unwanted: frozenset[bytes]) -> tuple[dict[bytes, bytes], bytes]:
    """Return the fields by lower-case name, and the block without the unwanted ones."""
    if _FIELDS.fullmatch(block) is None:
        raise HeadError("Malformed header field")
    fields = _EACH_FIELD.findall(block)
    seen: dict[bytes, bytes] = {}
    rewrite = False
    for name, raw in fields:
        key, value = name.lower(), raw.strip(b" \t")
        if key not in seen:
            seen[key] = value
        elif key in single:
            raise HeadError(f"The header {name.decode()} is repeated")
        else:
            seen[key] = seen[key] + b"," + value
        if key in unwanted or (key in _REWRITTEN and raw != b" " + value):
            rewrite = True
    if not rewrite:
        return seen, block
    dropped = unwanted | _nominated(seen)
    kept = [b"%b: %b\r\n" % (name, raw.strip(b" \t")) for name, raw in fields if name.lower() not in dropped]
    return seen, b"".join(kept)


def _connection_options(seen: dict[bytes, bytes]) -> frozenset[bytes]:
    value = seen.get(b"connection")
    return _NO_OPTIONS if value is None else frozenset(option.strip(b" \t").lower() for option in value.split(b","))


def _nominated(seen: dict[bytes, bytes]) -> frozenset[bytes]:
    """Return the fields that `Connection` makes hop-by-hop; raises HeadError when it names one that must arrive."""
    named = _connection_options(seen)
    if named & SINGLE:
        raise HeadError("The Connection header names a field that is not hop-by-hop")
    return named


def _content_length(seen: dict[bytes, bytes]) -> int | None:
    value = seen.get(b"content-length")
    if value is None:
        return None
    if _DIGITS.fullmatch(value) is None:
        raise HeadError("Invalid Content-Length")
    return int(value)


def _is_chunked(seen: dict[bytes, bytes]) -> bool:
    value = seen.get(b"transfer-encoding")
    if value is None:
        return False
    if b"content-length" in seen:
        raise HeadError("Content-Length and Transfer-Encoding exclude each other")
    if value.lower() != b"chunked":
        raise HeadError("Transfer-Encoding other than chunked is not supported", 501)
    return True


def _origin_form(method: bytes, target: bytes, host: bytes) -> bytes:
    if target.startswith(b"/"):
        return target
    if method == b"CONNECT":
        raise HeadError("CONNECT is not supported", 405)
    if target == b"*" and method == b"OPTIONS":
        return target
    scheme, found, rest = target.partition(b"://")
    if not found or scheme.lower() not in (b"http", b"https"):
        raise HeadError("Malformed request target")
    authority, mark, tail = _split_authority(rest)
    if not _same_authority(authority, host, scheme.lower()):
        raise HeadError("The request target and the Host header disagree")
    return mark + tail if mark == b"/" else b"/" + mark + tail


def _split_authority(rest: bytes) -> tuple[bytes, bytes, bytes]:
    for index, byte in enumerate(rest):
        if byte in b"/?":
            return rest[:index], rest[index : index + 1], rest[index + 1 :]
    return rest, b"", b""


def _same_authority(authority: bytes, host: bytes, scheme: bytes) -> bool:
    default = b":80" if scheme == b"http" else b":443"
    return authority.lower().removesuffix(default) == host.lower().removesuffix(default)
