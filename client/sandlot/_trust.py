"""Whom TLS connections trust."""

from __future__ import annotations

import functools
import os
import ssl


def find_context() -> ssl.SSLContext:
    """Return the context of all connections: the system's trust, or what SSL_CERT_FILE and SSL_CERT_DIR say now."""
    return _make_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache  # reading the system's certificates takes tens of milliseconds
def _make_context(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()  # reads the two variables itself
    context.set_alpn_protocols(["http/1.1"])
    return context
