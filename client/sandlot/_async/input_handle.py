"""Input for a command or terminal in one ordered stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Self

from sandlot._async.envd import Envd
from sandlot._async.io import TaskOwner
from sandlot._frames import encode_frame
from sandlot._input import STREAM_INPUT_S, InputKind, input_data, input_keepalive, input_start
from sandlot.config import KEEPALIVE_S
from sandlot.exceptions import SandboxException


class AsyncCommandInputHandle:
    """An open input stream: `send()` queues, `close()` (or leaving `async with`) waits until all has arrived."""

    def __init__(
        self,
        envd: Envd,
        pid: int,
        kind: InputKind,
        timeout: float | None,
        tasks: TaskOwner,
    ) -> None:
        self._kind: InputKind = kind
        self._queue: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._closing = False
        self._failure: Exception | None = None
        self._task = tasks.spawn(self._run(envd, pid, timeout))

    async def send(self, data: str | bytes) -> None:
        """Queue input. Raises what has gone wrong with the stream so far, and SandboxException after `close()`."""
        if self._failure is not None:
            raise self._failure
        if self._closing or self._task.done():
            raise SandboxException("The input handle is closed: open a new one with stream_input(pid).")
        self._queue.put_nowait(data)

    async def close(self) -> None:
        """End the stream and wait until the sandbox has taken all of it. Raises what has gone wrong."""
        if not self._closing:
            self._closing = True
            self._queue.put_nowait(None)
        await asyncio.wait([self._task])
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def _run(self, envd: Envd, pid: int, timeout: float | None) -> None:
        try:
            await envd.send_stream("process.Process/StreamInput", self._frames(pid), timeout)
        except Exception as error:  # told by the next send() or close()
            self._failure = error

    async def _frames(self, pid: int) -> AsyncGenerator[bytes, None]:
        yield encode_frame(input_start(pid))
        while True:
            try:
                async with asyncio.timeout(KEEPALIVE_S):
                    data = await self._queue.get()
            except TimeoutError:
                yield encode_frame(input_keepalive())
                continue
            if data is None:
                return
            yield encode_frame(input_data(self._kind, data))


class InputStreams:
    """The part of the commands and terminal modules that streams input."""

    _envd: Envd
    _input_kind: InputKind

    def stream_input(self, pid: int, *, timeout: float | None = STREAM_INPUT_S) -> AsyncCommandInputHandle:
        """Open an ordered stream of input to a process. `timeout`: seconds it may last, 0 or None for no limit."""
        return AsyncCommandInputHandle(self._envd, pid, self._input_kind, timeout, self._envd.tasks)
