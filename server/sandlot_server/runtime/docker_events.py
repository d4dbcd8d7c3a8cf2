"""The engine's event stream, read by a thread of its own since the SDK's stream blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import docker
import requests
from docker.errors import DockerException

from sandlot_server.runtime.base import Death

KILLED = "137"


class EventStream:
    """Deaths of containers with certain labels, from the moment of `follow` on."""

    def __init__(self, client: docker.APIClient, labels: dict[str, str]) -> None:
        self._client = client
        self._filters = {
            "type": "container",
            "event": ["die", "oom"],
            "label": [f"{name}={value}" for name, value in labels.items()],
        }
        self._out_of_memory: set[str] = set()

    async def follow(self) -> AsyncIterator[Death]:
        """Yield deaths until the engine ends the stream; raises what the SDK raises."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
        stream = await loop.run_in_executor(None, lambda: self._client.events(decode=True, filters=self._filters))
        thread = threading.Thread(target=_pump, args=(stream, loop, queue), name="docker-events", daemon=True)
        thread.start()
        try:
            while (event := await queue.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                if death := self._read(event):
                    yield death
        finally:
            stream.close()
            self._client.close()

    def _read(self, event: dict[str, Any]) -> Death | None:
        attributes = event["Actor"]["Attributes"]
        name = attributes["name"]
        if event["Action"] == "oom":
            self._out_of_memory.add(name)
            return None
        short_of_memory = name in self._out_of_memory
        self._out_of_memory.discard(name)
        return Death(name, _explain(attributes.get("exitCode", ""), short_of_memory))


def _explain(code: str, short_of_memory: bool) -> str:
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
