"""Whom TLS connections trust."""

from __future__ import annotations

import functools
import os
import ssl

from .discovery import find_local_server


def find_context(host: str) -> ssl.SSLContext:
    """Return the context for connections to `host`.

    It trusts the system's authorities, or what SSL_CERT_FILE and SSL_CERT_DIR say now; and for names under
    `localhost`, which are always this machine, the authority that this machine's server made for itself.
    """
    return _make_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), _find_local_authority(host))


def _find_local_authority(host: str) -> str | None:
    domain = host.partition(".")[2]
    if not domain.endswith(".localhost"):
        return None
    path = f"{find_local_server().home}/tls/{domain}/ca.pem"
    return path if os.access(path, os.R_OK) else None


@functools.cache  # reading the system's certificates takes tens of milliseconds
def _make_context(cert_file: str | None, cert_dir: str | None, own_authority: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()  # reads the two variables itself
    context.set_alpn_protocols(["http/1.1"])
    if own_authority is not None:
        context.load_verify_locations(own_authority)
    return context
