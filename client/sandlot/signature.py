"""Signed URLs of files."""

from __future__ import annotations

import time
from typing import TypedDict

from sandlot_protocol.signing import Operation, sign


class Signature(TypedDict):
    """The signature of a file URL, and when it ends in unix seconds."""

    signature: str
    expiration: int | None


def get_signature(
    path: str,
    operation: Operation,
    user: str | None,
    envd_access_token: str | None,
    expiration_in_seconds: int | None = None,
) -> Signature:
    """Sign the URL of a file. Raises ValueError without the sandbox's access token."""
    if not envd_access_token:
        raise ValueError("A signature needs the sandbox's access token")
    expiration = None if expiration_in_seconds is None else int(time.time()) + expiration_in_seconds
    return {"signature": sign(path, operation, user or "", envd_access_token, expiration), "expiration": expiration}
