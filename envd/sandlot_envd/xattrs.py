"""A file's metadata: E2B's own extended attributes, user.e2b.<key>."""

from __future__ import annotations

import contextlib
import errno
import os

from sandlot_envd.errors import BadRequest

PREFIX = "user.e2b."
HEADER = "x-metadata-"
MAX_KEY = 246
MAX_TOTAL = 4096

_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


def read_metadata(target: str | int) -> dict[str, str]:
    """Return the metadata of a file, by its path or descriptor; {} where there is none or it cannot be read.

    Links are followed. Programs in the sandbox may set any bytes: what is not UTF-8 cannot be told, and is left out.
    """
    metadata = {}
    try:
        names = os.listxattr(target)
    except OSError:
        return {}
    for name in names:
        if name.startswith(PREFIX):
            with contextlib.suppress(OSError, UnicodeError):
                key = os.fsencode(name).decode()[len(PREFIX) :]
                metadata[key] = os.getxattr(target, name).decode()
    return metadata


def replace_metadata(fd: int, metadata: dict[str, str]) -> None:
    """Make `metadata` all that an open file has; silently nothing where the filesystem keeps none. Raises OSError."""
    try:
        for name in os.listxattr(fd):
            if name.startswith(PREFIX) and name[len(PREFIX) :] not in metadata:
                os.removexattr(fd, name)
        for key, value in metadata.items():
            os.setxattr(fd, PREFIX + key, value.encode())
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def parse_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return the metadata that a request's X-Metadata-<key> headers carry; raises BadRequest beyond the limits."""
    metadata = {name[len(HEADER) :]: value for name, value in headers.items() if name.startswith(HEADER)}
    for key, value in metadata.items():
        if not key or len(key) > MAX_KEY:
            raise BadRequest(f"invalid metadata: a key has 1 to {MAX_KEY} characters, not {len(key)}")
        if not _is_printable(key) or not _is_printable(value):
            raise BadRequest("invalid metadata: keys and values are printable ASCII")
    total = sum(len(PREFIX) + len(key) + len(value) for key, value in metadata.items())
    if total > MAX_TOTAL:
        raise BadRequest(f"invalid metadata: {total} bytes are more than {MAX_TOTAL}")
    return metadata


def _is_printable(text: str) -> bool:
    return all(" " <= char <= "~" for char in text)
