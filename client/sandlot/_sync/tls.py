# Generated from client/sandlot/_async/tls.py by sandlot._dev.unasync: change that file, not this one.
"""TLS over a stream, pumped by hand: the same code serves blocking sockets, others, and connections through a proxy."""

from __future__ import annotations

import functools
import ssl

from sandlot._http import Deadline
from sandlot._sync.stream import Stream


@functools.cache
def client_context() -> ssl.SSLContext:
    """Return the trust of all connections: the system's, or what SSL_CERT_FILE and SSL_CERT_DIR say."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsStream(Stream):
    """A TLS connection inside another stream."""

    def __init__(self, inner: Stream, host: str) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = client_context().wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def handshake(self, deadline: Deadline) -> None:
        """Agree on keys and check the certificate. Raises OSError, TimeoutError."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._fill(deadline.within())
        self._flush(deadline.within())

    def receive(self, timeout: float | None) -> bytes:
        """Return the next bytes, none at the end. Raises OSError, TimeoutError."""
        while True:
            try:
                return self._tls.read(65_536)
            except ssl.SSLWantReadError:
                self._fill(timeout)
            except ssl.SSLZeroReturnError:
                return b""

    def send(self, data: bytes | memoryview, timeout: float | None) -> None:
        """Write all of `data`. Raises OSError, TimeoutError."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._tls.write(view) :]
            except ssl.SSLWantReadError:
                self._fill(timeout)
            self._flush(timeout)

    def _flush(self, timeout: float | None) -> None:
        if data := self._outgoing.read():
            self._inner.send(data, timeout)

    def _fill(self, timeout: float | None) -> None:
        self._flush(timeout)
        if data := self._inner.receive(timeout):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def has_news(self) -> bool:
        """Whether bytes, or the end, wait to be read."""
        return self._incoming.pending > 0 or self._inner.has_news()

    def close(self) -> None:
        """End the connection at once."""
        self._inner.close()
