"""Certificates that the sandbox's programs are to trust besides the usual ones."""

from __future__ import annotations

import os

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)
"""Where distributions keep all that is trusted in one file; an image without any gets the first."""
EXTRA = "/usr/local/share/ca-certificates/sandlot-extra.crt"
"""From here the distribution's own tool takes them when it writes its bundle anew."""


def trust(pem: str, root: str = "") -> dict[str, str]:
    """Add certificates to the image's bundle, once; return the variables that point programs there. Raises OSError."""
    wanted = pem.strip() + "\n"
    bundle = next((path for path in BUNDLES if os.path.exists(root + path)), BUNDLES[0])
    _add(root + bundle, wanted)
    _add(root + EXTRA, wanted)
    # Node and Python's requests bring roots of their own; OpenSSL looks into a folder of hashes, not at the bundle.
    return {"NODE_EXTRA_CA_CERTS": EXTRA, "REQUESTS_CA_BUNDLE": bundle, "SSL_CERT_FILE": bundle}


def _add(path: str, wanted: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a+", encoding="utf-8", errors="surrogateescape") as file:
        file.seek(0)
        present = file.read()
        if wanted not in present:
            file.write(wanted if not present or present.endswith("\n") else f"\n{wanted}")
