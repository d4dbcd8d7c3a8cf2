"""The response side of an exchange: from what an upstream sends to what its client gets. Pure."""

from __future__ import annotations

from typing import Final

from sandlot_server.proxy.framing import Chunked, Framing, Length, UntilClose
from sandlot_server.proxy.heads import MAX_HEAD, NO_BODY, HeadError, Request, Response, parse_response

_MAX_INTERIM: Final = 64


class Reply:
    """Follows one response. Bytes pass unchanged wherever the client may have them as they are."""

    __slots__ = (
        "_framing", "_interim", "_is_head", "_is_old", "_is_rechunked", "_may_upgrade", "_pending", "began",
        "closes_client", "closes_upstream", "done", "request_done", "rest", "status",
    )  # fmt: skip

    def __init__(self, request: Request, *, request_done: bool, may_upgrade: bool) -> None:
        self._is_old = request.is_http_1_0
        self._is_head = request.method == b"HEAD"
        self._may_upgrade = may_upgrade
        self._framing: Framing | None = None
        self._is_rechunked = False
        self._pending = b""
        self._interim = 0
        self.request_done = request_done
        """Whether the whole request has been sent; kept up to date by the owner."""
        self.status = 0
        self.began = False
        """Whether the client got the head of the final response."""
        self.done = False
        self.closes_client = request.is_http_1_0 or request.fields.close
        """Whether the client's connection ends with this response."""
        self.closes_upstream = False
        """Whether the upstream's connection is of no use for a further request."""
        self.rest: bytes | None = None
        """After a switch of protocols: the first bytes in the new one."""

    @property
    def is_silent(self) -> bool:
        """Whether the upstream has sent nothing yet."""
        return not (self.began or self._pending or self._interim)

    def receive(self, data: bytes) -> bytes:
        """Return what the client gets for `data`; raises HeadError or FramingError."""
        if self._framing is None:
            return self._receive_head(data)
        return self._receive_body(data)

    def end_with_connection(self) -> bytes | None:
        """The upstream closed in good order: return the end of the body, or None when this cuts the response off."""
        if not isinstance(self._framing, UntilClose):
            return None
        self.done = True
        return b"0\r\n\r\n" if self._is_rechunked else b""

    def _receive_head(self, data: bytes) -> bytes:
        if self._pending:
            data, self._pending = self._pending + data, b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > MAX_HEAD:
                raise HeadError("The response's head is too large")
            self._pending = data
            return b""
        response = parse_response(data[: end + 2])
        self.status = response.status
        if response.plain_length == len(data) - end - 4 and not self.closes_client and not self._is_head:
            self.began = self.done = True
            return data
        return self._begin(response, data, end + 4)

    def _begin(self, response: Response, data: bytes, start: int) -> bytes:
        if response.status == 101:
            return self._switch(data, start)
        if response.status < 200:
            out, rest = self._pass_interim(response), data[start:]
            return out + self._receive_head(rest) if rest else out
        self.began = True
        extra = self._choose_framing(response)
        if self.closes_upstream and not self.request_done:
            self.closes_client = True
        if self.closes_client:
            extra += b"Connection: close\r\n"
        rest = data[start:]
        body = self._receive_body(rest)
        if response.as_is and not extra and len(body) == len(rest):
            return data
        kept = response.fields.kept
        if self._is_old and response.fields.chunked:
            kept = kept.replace(b"Transfer-Encoding: chunked\r\n", b"")
        return response.line + kept + extra + b"\r\n" + body

    def _pass_interim(self, response: Response) -> bytes:
        self._interim += 1
        if self._interim > _MAX_INTERIM:
            raise HeadError("Too many interim responses")
        return b"" if self._is_old else response.line + response.fields.kept + b"\r\n"

    def _switch(self, data: bytes, start: int) -> bytes:
        if not self._may_upgrade or not self.request_done:
            raise HeadError("The protocol was switched unasked")
        self.began = self.done = True
        self.rest = data[start:]
        return data[:start]

    def _choose_framing(self, response: Response) -> bytes:
        """Decide how the body ends, and return the header fields that the client needs to see it."""
        fields = response.fields
        self.closes_upstream = fields.close or response.is_http_1_0
        if self._is_head or response.status in NO_BODY:
            self._framing = Length(0)
        elif fields.chunked:
            self._framing = Chunked(payload=[] if self._is_old else None)
        elif fields.content_length is not None:
            self._framing = Length(fields.content_length)
        else:
            return self._frame_by_close()
        return b""

    def _frame_by_close(self) -> bytes:
        """Chunk a body that ends with its connection, so that the client can tell an end from a cut."""
        self._framing = UntilClose()
        self.closes_upstream = True
        if self._is_old:
            return b""
        self._is_rechunked = True
        return b"Transfer-Encoding: chunked\r\n"

    def _receive_body(self, data: bytes) -> bytes:
        framing = self._framing
        assert framing is not None
        used = framing.feed(data)
        if framing.done:
            self.done = True
            if used != len(data):
                self.closes_upstream = True  # bytes after the end belong to nobody
                data = data[:used]
        if self._is_rechunked:
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if isinstance(framing, Chunked) and framing.payload is not None:
            data = b"".join(framing.payload)
            framing.payload.clear()
        return data
