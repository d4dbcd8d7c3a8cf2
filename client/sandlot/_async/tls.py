"""TLS over a stream, pumped by hand: the same code serves blocking sockets, others, and connections through a proxy."""

from __future__ import annotations

import ssl

from sandlot._async.stream import Stream
from sandlot._http import Deadline, Untrusted
from sandlot._trust import find_context

PLAIN_SIZE = 65_536


class TlsStream(Stream):
    """A TLS connection inside another stream."""

    def __init__(self, inner: Stream, host: str) -> None:
        self._inner = inner
        self._early: bytes | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = find_context(host).wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    async def send_some(self, data: memoryview, timeout: float | None) -> int:
        """Write all of `data`, for TLS inside of TLS; 0 when the peer speaks instead of reading."""
        return len(data) if await self.send(data, timeout) else 0

    async def handshake(self, deadline: Deadline) -> None:
        """Agree on keys and check the certificate. Raises Untrusted, OSError, TimeoutError."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._fill(deadline.within())
            except ssl.SSLCertVerificationError as error:
                raise Untrusted(error.verify_message) from error
        await self._flush(deadline.within())

    async def receive(self, timeout: float | None) -> bytes:
        """Return the next bytes, none at the end. Raises OSError, TimeoutError."""
        while (data := self._decrypt()) is None:
            await self._fill(timeout)
        return data

    def _decrypt(self) -> bytes | None:
        if self._early is not None:
            data, self._early = self._early, None
            return data
        try:
            return self._tls.read(PLAIN_SIZE)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    async def send(self, data: bytes | memoryview, timeout: float | None) -> bool:
        """Write all of `data`; False when the peer speaks before it has read it. Raises OSError, TimeoutError."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        return await self._flush(timeout)

    async def _flush(self, timeout: float | None) -> bool:
        view = memoryview(self._outgoing.read())
        while view:
            sent = await self._inner.send_some(view, timeout)
            if sent == 0 and await self._peer_speaks(timeout):
                return False
            view = view[sent:]
        return True

    async def _peer_speaks(self, timeout: float | None) -> bool:
        """Take in what the peer sends while we cannot: an answer, or only news of the TLS layer."""
        await self._take_in(timeout)
        self._early = self._decrypt()
        return self._early is not None

    async def _fill(self, timeout: float | None) -> None:
        await self._flush(timeout)
        await self._take_in(timeout)

    async def _take_in(self, timeout: float | None) -> None:
        self._put(await self._inner.receive(timeout))

    def _put(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def has_news(self) -> bool:
        """Whether bytes, or the end, wait to be read."""
        if self._early is None and (data := self._inner.take_news()) is not None:
            self._put(data)
            try:
                self._early = self._decrypt()  # None if it was news of the TLS layer alone, such as session tickets
            except OSError:
                self._early = b""
        return self._early is not None

    def take_news(self) -> bytes | None:
        """Return what can be read right now, nothing at the end of the stream, None if there is none."""
        return self._decrypt() if self.has_news() else None

    def close(self) -> None:
        """End the connection at once."""
        self._inner.close()
