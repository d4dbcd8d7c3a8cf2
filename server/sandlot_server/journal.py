"""What happens to sandboxes, told to whoever listens and kept for whoever asks later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from enum import StrEnum

from sandlot_server.models import LogEntry, now
from sandlot_server.store.base import Store
from sandlot_server.tasks import Tasks

log = logging.getLogger(__name__)

BACKLOG = 1000
"""A listener that is this many entries behind is dropped: nobody waits for it."""


NO_SANDBOX = ""
"""Instead of a sandbox's id, in what happens to the host as a whole."""


class Event(StrEnum):
    """Kinds of lifecycle events."""

    CREATED = "created"
    PAUSED = "paused"
    RESUMED = "resumed"
    MEMORY_LOST = "memory_lost"
    OUT_OF_MEMORY = "out_of_memory"
    SNAPSHOTTED = "snapshotted"
    DISK_FULL = "disk_full"
    KILLED = "killed"
    HOST_DISK_LOW = "host_disk_low"
    HOST_DISK_ENOUGH = "host_disk_enough"


class Journal:
    """Takes note of lifecycle events."""

    def __init__(self, store: Store, tasks: Tasks) -> None:
        self._store = store
        self._tasks = tasks
        self._listeners: set[asyncio.Queue[LogEntry | None]] = set()
        self._last: asyncio.Task[None] | None = None

    def record(self, event: Event, sandbox_id: str, message: str, *, level: str = "info", **fields: str) -> None:
        """Note an event at once; it is saved in the background."""
        log.log(logging.WARNING if level == "warn" else logging.INFO, "%s %s", sandbox_id, message)
        entry = LogEntry(now(), sandbox_id, level, message, event, fields)
        self._last = self._tasks.spawn(self._store.append_entries([entry]), f"saving of an event of {sandbox_id}")
        for queue in list(self._listeners):
            self._tell(queue, entry)

    async def flush(self) -> None:
        """Return once every event of until now is saved."""
        if self._last is not None:
            await asyncio.wait({self._last})  # the store takes them in order

    def _tell(self, queue: asyncio.Queue[LogEntry | None], entry: LogEntry) -> None:
        if queue.qsize() < BACKLOG:
            queue.put_nowait(entry)
        else:
            self._listeners.discard(queue)
            queue.put_nowait(None)

    async def listen(self) -> AsyncIterator[LogEntry]:
        """Yield events from now on; ends for a listener that is too slow."""
        queue: asyncio.Queue[LogEntry | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while (entry := await queue.get()) is not None:
                yield entry
        finally:
            self._listeners.discard(queue)
