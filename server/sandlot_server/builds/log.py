"""What a build says while it runs: kept in memory for those who follow it, and in the store for later."""

from __future__ import annotations

import asyncio

from sandlot_server.build_models import BuildLog
from sandlot_server.models import now
from sandlot_server.store.base import Store
from sandlot_server.tasks import Tasks

MAX_LINES = 50_000
MAX_LINE = 4096
SAVE_S = 0.5


class Log:
    """The log of one build."""

    def __init__(self, build_id: str, store: Store, tasks: Tasks) -> None:
        self.lines: list[BuildLog] = []
        self._build_id = build_id
        self._store = store
        self._tasks = tasks
        self._saved = 0
        self._saving: asyncio.Task[object] | None = None

    def add(self, message: str, step: str | None = None, level: str = "info") -> None:
        """Append a line; beyond MAX_LINES only that there were more."""
        if len(self.lines) > MAX_LINES:
            return
        if len(self.lines) == MAX_LINES:
            message, level = f"the log is full: what follows line {MAX_LINES} is not kept", "warn"
        self.lines.append(BuildLog(now(), level, message[:MAX_LINE], step))
        if self._saving is None or self._saving.done():
            self._saving = self._tasks.spawn(self._save_soon(), f"log of build {self._build_id}")

    def add_output(self, prefix: str, stream: str, text: str, step: str) -> None:
        """Append what a command has said, line by line."""
        for line in text.splitlines():
            if line.strip():
                level = "warn" if "WARNING" in line else "info"
                self.add(f"[{prefix}] [{stream}]: {line.strip()}", step, level)

    async def save(self) -> None:
        """Have the store keep what it has not got yet."""
        new, self._saved = self.lines[self._saved :], len(self.lines)
        if new:
            await self._store.append_build_logs(self._build_id, new)

    async def _save_soon(self) -> None:
        await asyncio.sleep(SAVE_S)
        await self.save()
