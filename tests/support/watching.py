"""A watcher that is polled, as the tests of the agent use it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from support.agent import Agent, RpcFailed

SERVICE = "filesystem.Filesystem"
CREATE, WRITE, REMOVE, RENAME, CHMOD = (
    f"EVENT_TYPE_{name}" for name in ("CREATE", "WRITE", "REMOVE", "RENAME", "CHMOD")
)


class Watcher:
    """A polled watcher."""

    def __init__(self, agent: Agent, watcher_id: str) -> None:
        self.agent = agent
        self.id = watcher_id

    async def poll(self) -> list[Any]:
        answer = await self.agent.call(f"{SERVICE}/GetWatcherEvents", {"watcherId": self.id})
        return list(answer.get("events", []))

    async def changes(self) -> list[tuple[str, str]]:
        return [(event["name"], event["type"]) for event in await self.poll()]


@contextlib.asynccontextmanager
async def watching(agent: Agent, path: Path | str, **options: Any) -> AsyncIterator[Watcher]:
    answer = await agent.call(f"{SERVICE}/CreateWatcher", {"path": str(path), **options})
    watcher = Watcher(agent, answer["watcherId"])
    yield watcher
    with contextlib.suppress(RpcFailed):
        await agent.call(f"{SERVICE}/RemoveWatcher", {"watcherId": watcher.id})


async def write(agent: Agent, path: Path, body: bytes = b"content") -> None:
    answer = await agent.request(
        "POST", f"/files?path={path}&username=user", body, {"Content-Type": "application/octet-stream"}
    )
    assert answer.status == 200, answer.body


@contextlib.contextmanager
def frozen(agent: Agent) -> Any:
    """Stop the agent's process; everything until the end of the block happens behind its back."""
    os.kill(agent.pid, 19)
    try:
        yield
    finally:
        os.kill(agent.pid, 18)
