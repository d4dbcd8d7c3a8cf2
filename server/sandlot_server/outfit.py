"""What the site gives every sandbox and every build along: certificates to trust, and a proxy to use."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandlot_server.settings import Settings


@dataclass(frozen=True)
class Outfit:
    """Variables below those of the image, and certificates (PEM) besides the image's own."""

    env: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: str | None = None


def load_outfit(settings: Settings) -> Outfit:
    """Read what the settings name; raises ValueError when the certificates cannot be read or are none."""
    env = {}
    if settings.http_proxy is not None:
        named = {"http_proxy": settings.http_proxy, "https_proxy": settings.http_proxy, "no_proxy": settings.no_proxy}
        # Programs look for one spelling or the other.
        env = named | {name.upper(): value for name, value in named.items()}
    return Outfit(env, _read_certificates(settings.extra_ca) if settings.extra_ca is not None else None)


def _read_certificates(path: Path) -> str:
    try:
        pem = path.read_text()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ValueError(f"SANDLOT_EXTRA_CA: {path} cannot be used: {error}") from error
    return pem
