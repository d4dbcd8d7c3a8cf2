"""The agent's log: one JSON object on a line of standard output, where the engine keeps it."""

from __future__ import annotations

import json
import os
import time

MAX_LINES_PER_S = 200


class Log:
    """Writes lines until a second has had its share, and says how many it left out."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._second = 0
        self._written = 0
        self._dropped = 0

    def write(self, message: str, level: str = "info", **fields: object) -> None:
        """Log `message` with its fields; never raises, never waits for a reader."""
        now = time.time()
        if int(now) != self._second:
            self._start_second(int(now))
        self._written += 1
        if self._written > MAX_LINES_PER_S:
            self._dropped += 1
            return
        self._emit({"timestamp": _format(now), "level": level, "logger": "envd", "message": message, **fields})

    def _start_second(self, second: int) -> None:
        dropped, self._second, self._written, self._dropped = self._dropped, second, 0, 0
        if dropped:
            self.write("lines left out", "warn", count=dropped)

    def _emit(self, line: dict[str, object]) -> None:
        try:
            os.write(self._fd, json.dumps(line).encode() + b"\n")
        except OSError:
            return


def _format(now: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{whole}.{int(now % 1 * 1000):03d}Z"
