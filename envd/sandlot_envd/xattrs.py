"""A file's metadata: E2B's own extended attributes, user.e2b.<key>."""

from __future__ import annotations

import contextlib
import os

from sandlot_envd.errors import BadRequest

PREFIX = "user.e2b."
HEADER = "x-metadata-"
MAX_KEY = 246
MAX_TOTAL = 4096


def read_metadata(path: bytes) -> dict[str, str]:
    """Return the metadata of a file that is no link; {} where the filesystem keeps none. Skips what is not UTF-8."""
    metadata = {}
    with contextlib.suppress(OSError):
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith(PREFIX):
                with contextlib.suppress(OSError, UnicodeDecodeError):
                    metadata[name[len(PREFIX) :]] = os.getxattr(path, name, follow_symlinks=False).decode()
    return metadata


def replace_metadata(fd: int, metadata: dict[str, str]) -> None:
    """Make `metadata` all that an open file has; silently nothing where the filesystem keeps none."""
    with contextlib.suppress(OSError):
        for name in os.listxattr(fd):
            if name.startswith(PREFIX):
                os.removexattr(fd, name)
        for key, value in metadata.items():
            os.setxattr(fd, PREFIX + key, value.encode())


def parse_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return the metadata that a request's X-Metadata-<key> headers carry; raises BadRequest beyond the limits."""
    metadata = {name[len(HEADER) :]: value for name, value in headers.items() if name.startswith(HEADER)}
    total = 0
    for key, value in metadata.items():
        total += len(PREFIX) + len(key) + len(value)
        if not key or len(key) > MAX_KEY or not _is_printable(key) or not _is_printable(value):
            raise BadRequest(f"invalid metadata '{key}': keys up to {MAX_KEY} and values of printable ASCII only")
    if total > MAX_TOTAL:
        raise BadRequest(f"metadata of {total} bytes is larger than {MAX_TOTAL}")
    return metadata


def _is_printable(text: str) -> bool:
    return all(" " <= char <= "~" for char in text)
