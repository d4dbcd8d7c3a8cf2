"""The engine's event stream, read by a thread of its own since the SDK's stream blocks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import docker
import requests
from docker.errors import DockerException

from sandlot_server.runtime.base import Death, Listening, Notice, Shortage

KILLED = "137"
STOP = "15"
"""The signal that the engine begins to stop a container with; our own hand always kills."""
QUIET_S = 5
"""A container that runs out of memory again and again is told of once in so many seconds."""


class EventStream:
    """What happens to containers with certain labels, from the moment of `follow` on."""

    def __init__(self, client: docker.APIClient, labels: dict[str, str]) -> None:
        self._client = client
        self._filters = {
            "type": "container",
            "event": ["die", "oom", "kill"],
            "label": [f"{name}={value}" for name, value in labels.items()],
        }
        self._out_of_memory: dict[str, float] = {}
        self._stopped: set[str] = set()

    async def follow(self) -> AsyncIterator[Notice]:
        """Yield what happens until the engine ends the stream; raises what the SDK raises."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
        # The engine answers a moment before it listens: with a beginning named, it tells what was in between.
        since = int(time.time())
        stream = await loop.run_in_executor(
            None, lambda: self._client.events(decode=True, filters=self._filters, since=since)
        )
        thread = threading.Thread(target=_pump, args=(stream, loop, queue), name="docker-events", daemon=True)
        thread.start()
        try:
            yield Listening()
            while (event := await queue.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                if notice := self._read(event):
                    yield notice
        finally:
            stream.close()
            self._client.close()

    def _read(self, event: dict[str, Any]) -> Notice | None:
        attributes = event["Actor"]["Attributes"]
        name = attributes["name"]
        if event["Action"] == "oom":
            return self._note_shortage(name)
        if event["Action"] == "kill":
            if attributes.get("signal") == STOP:
                self._stopped.add(name)
            return None
        short_of_memory = self._out_of_memory.pop(name, None) is not None
        stopped = name in self._stopped
        self._stopped.discard(name)
        reason = explain(attributes.get("exitCode", ""), short_of_memory=short_of_memory)
        return Death(name, f"the engine stopped it: {reason}" if stopped else reason, stopped)

    def _note_shortage(self, name: str) -> Shortage | None:
        moment = time.monotonic()
        if moment - self._out_of_memory.get(name, -QUIET_S) < QUIET_S:
            return None
        self._out_of_memory[name] = moment
        return Shortage(name)


def explain(code: str, *, short_of_memory: bool) -> str:
    """Why process 1 of a container ended, from its exit code."""
    if code != KILLED:
        return f"process 1 ended with exit code {code}"
    return "process 1 was killed: out of memory" if short_of_memory else "process 1 was killed"


def _pump(
    stream: Any, loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[dict[str, Any] | Exception | None]
) -> None:
    """Hand events to the loop until the stream ends, for whatever reason."""
    end: Exception | None = None
    try:
        for event in stream:
            loop.call_soon_threadsafe(queue.put_nowait, event)
    except (requests.exceptions.RequestException, DockerException, OSError, ValueError, AttributeError) as error:
        end = error if isinstance(error, requests.exceptions.RequestException | DockerException) else None
    try:
        loop.call_soon_threadsafe(queue.put_nowait, end)
    except RuntimeError:
        return  # the loop has ended before the stream: nobody waits for this any more
