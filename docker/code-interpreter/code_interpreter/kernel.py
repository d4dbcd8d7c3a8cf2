"""One kernel: a process that runs code, one piece after the other, and keeps what was defined."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from code_interpreter.messages import Line, make_error, translate

READY_S = 60
LOOK_S = 0.5
"""How often a kernel that says nothing is looked at: it may have died, or been restarted."""
REPLY_S = 5
RESTARTED: Line = {"type": "error", "name": "ContextRestarting", "value": "Context was restarted", "traceback": ""}


class Kernel:
    """A kernel's process and its channels. Calls of `run` must not overlap."""

    def __init__(self, spec: str, cwd: str) -> None:
        self._manager = AsyncKernelManager(kernel_name=spec)
        self._client: Any = None
        self._cwd = cwd
        self._is_given_up = False

    async def start(self) -> None:
        """Return once code can run; raises OSError (the folder, for one), RuntimeError when it does not come up."""
        await self._manager.start_kernel(cwd=self._cwd)
        await self._connect()

    async def _connect(self) -> None:
        self._client = self._manager.client()
        self._client.start_channels()
        try:
            await self._client.wait_for_ready(timeout=READY_S)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process, whatever it does."""
        if self._client is not None:
            self._client.stop_channels()
        await self._manager.shutdown_kernel(now=True)

    async def interrupt(self) -> None:
        """Have the code that runs now raise."""
        if await self._manager.is_alive():
            await self._manager.interrupt_kernel()

    def give_up(self) -> None:
        """Have `run` end soon, whatever the code does; only `restart` may follow."""
        self._is_given_up = True

    async def restart(self) -> None:
        """Put a new process in the old one's place."""
        self._client.stop_channels()
        await self._manager.restart_kernel(now=True)
        await self._connect()
        self._is_given_up = False

    async def run(self, code: str, *, hidden: bool = False) -> AsyncIterator[Line]:
        """Run code and yield what it shows; hidden code is not counted and shows nothing but its errors."""
        request = self._client.execute(code, silent=hidden, store_history=not hidden, allow_stdin=False)
        has_failed = False
        async for message in self._follow(request):
            line = RESTARTED if message is None else translate(message)
            if line is not None:
                has_failed = has_failed or line["type"] == "error"
                yield line
            if message is None:
                return
        reply = await self._read_reply(request)
        if reply.get("status") in ("error", "aborted", "abort") and not has_failed:
            yield make_error(reply)

    async def _follow(self, request: str) -> AsyncIterator[dict[str, Any] | None]:
        """Yield the messages about a request until the kernel is idle; None at last when it has gone."""
        while not self._is_given_up:
            try:
                message = await self._client.get_iopub_msg(timeout=LOOK_S)
            except queue.Empty:
                if not await self._manager.is_alive():
                    break
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["header"]["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            yield message
        yield None

    async def _read_reply(self, request: str) -> dict[str, Any]:
        with suppress(queue.Empty):
            async with asyncio.timeout(REPLY_S):
                while (message := await self._client.get_shell_msg(timeout=REPLY_S)) is not None:
                    if message["parent_header"].get("msg_id") == request:
                        content: dict[str, Any] = message["content"]
                        return content
        return {}

    async def is_gone(self) -> bool:
        """Whether the process has ended, or is to be restarted."""
        return self._is_given_up or not await self._manager.is_alive()
