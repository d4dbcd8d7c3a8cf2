"""Which host the first bytes of a connection are meant for: TLS tells in its ClientHello, HTTP in its Host header."""

from __future__ import annotations

import ssl

import httptools

MAX_HEAD = 16 * 1024
TLS_PORT = 443


class NoHost(Exception):
    """The bytes name no host, or are of no protocol that names one."""


def find_host(head: bytes, port: int) -> str | None:
    """The host that `head` names; None while more bytes are needed. Raises NoHost."""
    if len(head) > MAX_HEAD:
        raise NoHost(f"no host within {MAX_HEAD} bytes")
    return find_server_name(head) if port == TLS_PORT else find_http_host(head)


def find_server_name(head: bytes) -> str | None:
    """The server name (SNI) of a ClientHello; None while it is not whole. Raises NoHost."""
    found: list[str | None] = []

    def note(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int:
        found.append(name)
        return ssl.ALERT_DESCRIPTION_CLOSE_NOTIFY  # it has told what is wanted of it

    # OpenSSL itself reads it, as a server that gives up at once: nothing of ours takes it apart.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = note
    given, made = ssl.MemoryBIO(), ssl.MemoryBIO()
    given.write(head)
    try:
        context.wrap_bio(given, made, server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        return None
    except (ssl.SSLError, ValueError) as error:
        if not found:
            raise NoHost("this is no ClientHello") from error
    if not found or not found[0]:
        raise NoHost("the ClientHello names no server")
    return found[0]


class _Head:
    """Takes notes while httptools reads."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.is_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"host":
            self.hosts.append(value.decode("latin-1").strip())

    def on_headers_complete(self) -> None:
        self.is_whole = True


def find_http_host(head: bytes) -> str | None:
    """The Host header of a request, without its port; None while the head is not whole. Raises NoHost."""
    notes = _Head()
    try:
        httptools.HttpRequestParser(notes).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise NoHost("this is no HTTP request") from error
    if not notes.is_whole:
        return None
    if len(notes.hosts) != 1 or not notes.hosts[0]:
        raise NoHost("the request does not have one Host header")
    return notes.hosts[0].rsplit(":", 1)[0] if notes.hosts[0][-1] != "]" else notes.hosts[0]
