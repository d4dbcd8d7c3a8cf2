"""Prints a build's log as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import get_args

from .template_models import LogEntry, LogEntryEnd, LogEntryLevel, LogEntryStart

_LEVELS: tuple[LogEntryLevel, ...] = get_args(LogEntryLevel)


def default_build_logger(min_level: LogEntryLevel | None = None) -> Callable[[LogEntry], None]:
    """Return a callback for `on_build_logs` that prints: seconds since it was made, time, level and message.

    `min_level`: what matters less is left out, "info" unless given.
    """
    shown = _LEVELS[_LEVELS.index(min_level or "info") :]
    began = time.monotonic()

    def log(entry: LogEntry) -> None:
        if entry.level in shown and not isinstance(entry, LogEntryStart | LogEntryEnd):
            took, at = f"{time.monotonic() - began:.1f}s", f"{entry.timestamp:%H:%M:%S}"
            print(f"{took:<6}| {at} {entry.level.upper():<5} {entry.message}", flush=True)  # noqa: T201 - its purpose

    return log
