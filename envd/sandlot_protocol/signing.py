"""The signature of a file URL, made by clients and checked by the agent and the front door."""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

Operation = Literal["read", "write"]


def sign(path: str, operation: Operation, username: str, token: str, expiration: int | None = None) -> str:
    """Return the `signature` query value of a file URL.

    `path` and `username` are the query values as typed, unresolved; `username` is "" when the URL has none.
    `expiration` is in unix seconds and takes part only when the URL carries `signature_expiration`.
    """
    parts = [path, operation, username, token]
    if expiration is not None:
        parts.append(str(expiration))
    digest = hashlib.sha256(":".join(parts).encode("utf-8", "surrogateescape")).digest()
    return "v1_" + base64.b64encode(digest).decode().rstrip("=")
