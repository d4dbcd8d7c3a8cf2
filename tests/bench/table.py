"""The table of a bench: rows, what they are to reach, and how they are written."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LINE = "{:<40} {:>9} {:>8} {:>8}   {:<12} {:>8} {:>6}   {:<28} {}"
HEAD = ("what (ms, or as it says)", "ok/runs", "p50", "p95", "beside", "p50", "ratio", "target", "met")


@dataclass(frozen=True)
class Target:
    """What a row is to reach: at most so much, except `rate`, the least part of the reference's rate."""

    p50: float | None = None
    p95: float | None = None
    ratio: float | None = None
    rate: float | None = None

    def describe(self) -> str:
        """Return it in a few words."""
        bounds = (
            ("p50", "<=", self.p50),
            ("p95", "<=", self.p95),
            ("ratio", "<=", self.ratio),
            ("ratio", ">=", self.rate),
        )
        return ", ".join(f"{name} {sign} {bound:g}" for name, sign, bound in bounds if bound is not None)

    def is_met(self, row: Row) -> bool:
        """Whether a row has reached all of it, every one of its runs having succeeded."""
        nothing = float("inf")
        ratio, p95 = row.ratio or nothing, row.p95 if row.p95 is not None else nothing
        return (
            row.ok == row.runs
            and (self.p50 is None or row.p50 <= self.p50)
            and (self.p95 is None or p95 <= self.p95)
            and (self.ratio is None or ratio <= self.ratio)
            and (self.rate is None or (row.ratio or 0) >= self.rate)
        )


@dataclass
class Row:
    """Ours and the reference, in milliseconds or in the unit that the name ends with, and how often ours succeeded."""

    name: str
    runs: int
    ok: int
    p50: float
    p95: float | None = None
    reference: str = ""
    reference_p50: float | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """Ours as a part of the reference."""
        return None if not self.reference_p50 else self.p50 / self.reference_p50

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        return None if self.target is None else self.target.is_met(self)


def summarise(name: str, taken: list[float], failed: int = 0, **rest: Any) -> Row:
    """Return the row of some calls, from the milliseconds of those that succeeded."""
    ordered = sorted(taken) or [float("nan")]
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return Row(name, len(taken) + failed, len(taken), statistics.median(ordered), p95, **rest)


def render(rows: Iterable[Row]) -> str:
    """Return the table as text."""
    return "\n".join([LINE.format(*HEAD), *map(_render_row, rows)])


def _render_row(row: Row) -> str:
    cells = (
        row.name,
        f"{row.ok}/{row.runs}",
        _shorten(row.p50),
        "" if row.p95 is None else f"{row.p95:.1f}",
        row.reference,
        "" if row.reference_p50 is None else _shorten(row.reference_p50),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.target is None else row.target.describe(),
        {True: "yes", False: "NO", None: ""}[row.met],
    )
    return LINE.format(*cells).rstrip()


def _shorten(value: float) -> str:
    return f"{value:.{2 if value < 1 else 1}f}"


def save(rows: Iterable[Row], file: Path) -> None:
    """Write the rows as JSON."""
    file.write_text(json.dumps([{**asdict(row), "ratio": row.ratio, "met": row.met} for row in rows], indent=1))


def render_comparison(before: Iterable[dict[str, Any]], after: Iterable[dict[str, Any]]) -> str:
    """Return the medians of two saved tables beside each other, for the rows that both have."""
    old = {(row["name"], row["reference"]): row["p50"] for row in before}
    line = "{:<40} {:<12} {:>9} {:>9} {:>6}"
    lines = [line.format("what (ms, or as it says)", "beside", "before", "after", "ratio")]
    for row in after:
        was, now = old.get((row["name"], row["reference"])), row["p50"]
        if was:
            lines += [line.format(row["name"], row["reference"], _shorten(was), _shorten(now), f"{now / was:.2f}")]
    return "\n".join(lines)
