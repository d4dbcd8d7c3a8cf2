"""Instants as the control plane writes them."""

from __future__ import annotations

from sandlot_envd.errors import BadRequest


def parse_timestamp(text: str) -> int | None:
    """Return an RFC 3339 instant in nanoseconds since 1970, None for an empty text; raises BadRequest for others.

    By hand: `datetime` has microseconds only, and costs every sandbox memory for one field of one request.
    """
    if not text:
        return None
    try:
        day, _, rest = text.upper().replace(" ", "T", 1).partition("T")
        year, month, date = (int(part) for part in day.split("-"))
        clock, offset_s = _split_offset(rest)
        hour, minute, second = clock.split(":")
        whole, _, fraction = second.partition(".")
        seconds = _count_days(year, month, date) * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(whole) - offset_s
        return seconds * 10**9 + int(fraction[:9].ljust(9, "0"))
    except ValueError as error:
        raise BadRequest(f"not an RFC 3339 timestamp: {text[:40]}") from error


def _split_offset(time: str) -> tuple[str, int]:
    """Return the time of day and its offset from UTC in seconds; raises ValueError without an offset."""
    if time.endswith("Z"):
        return time[:-1], 0
    sign = 1 if "+" in time else -1
    clock, _, offset = time.rpartition("+" if sign > 0 else "-")
    hours, minutes = offset.split(":")
    return clock, sign * (int(hours) * 3600 + int(minutes) * 60)


def _count_days(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01 in the Gregorian calendar."""
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        raise ValueError("no such day")
    # Years that begin in March have their leap day at the end, where it shifts nothing.
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1 - 719_468
