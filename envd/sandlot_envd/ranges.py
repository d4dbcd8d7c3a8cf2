"""Conditional and partial requests for a file (RFC 9110 §13, §14); loaded with the first download."""

from __future__ import annotations

import os
import re

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\s*", re.ASCII)


def make_etag(info: os.stat_result) -> str:
    """Return a strong validator: it changes with every write that the filesystem dates."""
    return f'"{info.st_ino:x}-{info.st_size:x}-{info.st_mtime_ns:x}"'


def is_unchanged(headers: dict[str, str], info: os.stat_result) -> bool:
    """Whether the client holds this very file; If-None-Match beats If-Modified-Since."""
    if tags := headers.get("if-none-match"):
        held = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return "*" in held or make_etag(info) in held
    since = _parse_date(headers.get("if-modified-since"))
    return since is not None and int(info.st_mtime) <= since


def _parse_date(text: str | None) -> float | None:
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def choose_range(headers: dict[str, str], info: os.stat_result) -> tuple[int, int] | None:
    """Return the first and one past the last byte wanted, None for the whole file.

    start >= end tells that nothing of the range exists. Several ranges at once, and ranges of another
    version of the file, are answered with the whole, as the RFC allows.
    """
    match = _RANGE.fullmatch(headers.get("range", ""))
    if match is None or not any(match.groups()) or not _is_same_version(headers.get("if-range"), info):
        return None
    first, last = match.groups()
    if len(first) > 18 or len(last) > 18:
        return (info.st_size, info.st_size) if len(first) > 18 else (int(first or 0), info.st_size)
    if not first:
        return max(0, info.st_size - int(last)), info.st_size
    if last and int(last) < int(first):
        return None
    return int(first), min(info.st_size, int(last) + 1 if last else info.st_size)


def _is_same_version(condition: str | None, info: os.stat_result) -> bool:
    if not condition:
        return True
    if condition.startswith('"'):
        return condition == make_etag(info)
    return _parse_date(condition) == int(info.st_mtime)
