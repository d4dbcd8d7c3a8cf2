"""Conditional and partial requests for a file (RFC 9110 §13, §14); loaded with the first download."""

from __future__ import annotations

import os
import re
import time

from sandlot_envd.errors import BadRequest
from sandlot_envd.timestamps import parse_timestamp

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DATE = re.compile(r"\w{3}, (\d{2}) (\w{3}) (\d{4}) (\d{2}:\d{2}:\d{2}) GMT", re.ASCII)
_RANGE = re.compile(r"\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII)
_CONDITIONS = frozenset(
    {"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range"}
)  # fmt: skip


def is_special(headers: dict[str, str]) -> bool:
    """Whether a request asks for a part of a file, or for a file only under some condition."""
    return not _CONDITIONS.isdisjoint(headers)


def make_etag(info: os.stat_result) -> str:
    """Return a strong validator: it changes with every write that the filesystem dates."""
    return f'"{info.st_ino:x}-{info.st_size:x}-{info.st_mtime_ns & (1 << 64) - 1:x}"'


def check_conditions(headers: dict[str, str], info: os.stat_result) -> int | None:
    """Return 412 or 304 when the request's conditions forbid or spare the answer, None when they do not."""
    if (tags := headers.get("if-match")) is not None:
        if not _names(tags, make_etag(info), weakly=False):
            return 412
    elif (limit := parse_date(headers.get("if-unmodified-since"))) is not None and int(info.st_mtime) > limit:
        return 412
    if (tags := headers.get("if-none-match")) is not None:
        return 304 if _names(tags, make_etag(info), weakly=True) else None
    since = parse_date(headers.get("if-modified-since"))
    return 304 if since is not None and int(info.st_mtime) <= since else None


def _names(tags: str, etag: str, weakly: bool) -> bool:
    held = [tag.strip() for tag in tags.split(",")]
    return "*" in held or etag in (tag.removeprefix("W/") if weakly else tag for tag in held)


def format_date(seconds: float) -> str | None:
    """Return an instant as HTTP writes it; None for one that it cannot write. Never in the locale's language."""
    try:
        at = time.gmtime(seconds)
    except (OverflowError, ValueError, OSError):
        return None
    if not 1 <= at.tm_year <= 9999:
        return None
    day = f"{DAYS[at.tm_wday]}, {at.tm_mday:02d} {MONTHS[at.tm_mon - 1]} {at.tm_year:04d}"
    return f"{day} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"


def parse_date(text: str | None) -> int | None:
    """Return an HTTP date in unix seconds; None for none, and for what is not one, which has no effect."""
    match = _DATE.fullmatch((text or "").strip())
    if match is None or match[2] not in MONTHS:
        return None
    try:
        nanoseconds = parse_timestamp(f"{match[3]}-{MONTHS.index(match[2]) + 1}-{match[1]}T{match[4]}Z")
    except BadRequest:
        return None
    return None if nanoseconds is None else nanoseconds // 10**9


def choose_range(headers: dict[str, str], info: os.stat_result) -> tuple[int, int] | None:
    """Return the first and one past the last byte wanted, None for the whole file.

    start >= end tells that what is asked for does not exist or cannot be. Several ranges at once, and ranges of
    another version of the file, are answered with the whole, as the RFC allows.
    """
    unit, _, wanted = headers.get("range", "").partition("=")
    if unit.strip().lower() != "bytes" or not _is_same_version(headers.get("if-range"), info):
        return None
    ranges = [one for one in wanted.split(",") if one.strip()]
    return None if len(ranges) > 1 else _parse_range("".join(ranges), info.st_size)


def _parse_range(text: str, size: int) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None or not any(match.groups()):
        return size, size
    first, last = (_parse_number(group) if group else None for group in match.groups())
    if first is None:
        return max(0, size - (last or 0)), size
    if last is not None and last < first:
        return size, size
    return first, size if last is None else min(size, last + 1)


def _parse_number(digits: str) -> int:
    """Return the number; one with more digits than any file's size needs is simply beyond every end."""
    return int(digits) if len(digits.lstrip("0")) <= 18 else 1 << 62


def _is_same_version(condition: str | None, info: os.stat_result) -> bool:
    if condition is None:
        return True
    return condition.strip() == make_etag(info) or parse_date(condition) == int(info.st_mtime)
