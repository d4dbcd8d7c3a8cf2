"""Work that goes on after the request that caused it was answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)

RESTART_S = 1


class Tasks:
    """Owns background tasks: each one that fails is logged, and none is left behind at the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[Any]:
        """Start `work` now; it runs to its end unless `cancel` comes first."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def supervise(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Keep `work` going until `cancel`: what it raises is logged, and it is begun again."""
        self.spawn(_keep_going(work, name), name)

    async def finish(self, deadline_s: float) -> None:
        """Wait for all tasks, those started meanwhile too; cancel what is not done in time."""
        end = asyncio.get_running_loop().time() + deadline_s
        while self._tasks and (left := end - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left)
        await self.cancel()

    async def cancel(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s failed", task.get_name(), exc_info=error)


async def _keep_going(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    while True:
        try:
            await work()
        except Exception:  # whatever it is, timeouts and deaths must go on being looked after
            log.exception("%s failed and is begun again", name)
        await asyncio.sleep(RESTART_S)
