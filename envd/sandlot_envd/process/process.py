"""One running command: its output to the listeners, its input from the clients, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from binascii import b2a_base64
from collections.abc import Callable
from typing import Any

from sandlot_envd.clock import Clock, Timer
from sandlot_envd.errors import AgentError, Internal, translate
from sandlot_envd.process.exit import describe_exit
from sandlot_envd.process.fanout import Event, Fanout
from sandlot_envd.process.input import Input
from sandlot_envd.process.spawn import Spawned, set_size

CHUNK = {"stdout": 32 * 1024, "stderr": 32 * 1024, "pty": 16 * 1024}
"""Bytes of one data event at most, as E2B's agent reads them."""

MAX_REST = 64
"""Chunks read from one pipe after a killed process's end: more than a pipe can hold by itself."""


class Process:
    """A started process and everything attached to it, until its end event is published."""

    def __init__(self, spawned: Spawned, config: dict[str, Any], tag: str | None, clock: Clock) -> None:
        self.pid = spawned.pid
        self.config = config
        self.tag = tag
        self.fanout = Fanout(clock, self._set_pressure)
        self.end: Event | None = None
        self.on_end: Callable[[], None] = lambda: None
        self._clock = clock
        self._outputs = dict(spawned.outputs)
        self._terminal = spawned.outputs.get("pty")
        self._typed = None if self._terminal is None else Input(self._terminal, "the terminal is closed")
        self._stdin = None if spawned.stdin is None else Input(spawned.stdin, "stdin not enabled or closed")
        self._status: int | None = None
        self._reaped = asyncio.Event()
        self._awaits_output = True
        self._deadline: Timer | None = None
        for name in self._outputs:
            self._listen(name)

    def kill_after(self, seconds: float) -> None:
        """Kill it when so many seconds of the sandbox's own time have passed."""
        self._deadline = self._clock.call_later(seconds, lambda: self.send_signal(signal.SIGKILL))

    def send_signal(self, number: int) -> None:
        """Signal the process itself, not its group. Its end no longer waits for others that hold its output."""
        self._awaits_output = False
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        self._finish_if_done()

    # -- output

    def _listen(self, name: str) -> None:
        asyncio.get_running_loop().add_reader(self._outputs[name], self._pump, name)

    def _set_pressure(self, is_full: bool) -> None:
        for name, fd in self._outputs.items():
            if is_full:
                asyncio.get_running_loop().remove_reader(fd)
            else:
                self._listen(name)

    def _pump(self, name: str) -> None:
        with contextlib.suppress(BlockingIOError):
            if not self._publish_chunk(name):
                self._close_output(name)
                self._finish_if_done()

    def _publish_chunk(self, name: str) -> bool:
        """Publish what one read gives; False at the end. Raises BlockingIOError when there is nothing at the moment."""
        try:
            data = os.read(self._outputs[name], CHUNK[name])
        except BlockingIOError:
            raise
        except OSError:  # EIO: the last process on the terminal is gone
            return False
        if data and self.fanout.has_listeners:
            text = b2a_base64(data, newline=False).decode("ascii")
            self.fanout.publish({"data": {name: text}}, len(data))
        return bool(data)

    def _close_output(self, name: str) -> None:
        fd = self._outputs.pop(name)
        asyncio.get_running_loop().remove_reader(fd)
        if self._typed is not None:
            self._typed.release()
        os.close(fd)

    # -- end

    def exited(self, status: int) -> None:
        """The reaper has its wait status."""
        self._status = status
        self._reaped.set()
        self._finish_if_done()

    async def wait_reaped(self, seconds: float) -> None:
        """Return once the process is gone from the process table, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reaped.wait()

    def _finish_if_done(self) -> None:
        if self._status is None or self.end is not None:
            return
        if self._outputs and self._awaits_output:
            return
        for name in list(self._outputs):
            self._publish_rest(name)
        self._finish({"end": describe_exit(self._status)})

    def _finish(self, end: Event) -> None:
        self.end = end
        if self._deadline is not None:
            self._deadline.cancel()
        if self._stdin is not None:
            self._stdin.close()
        self.fanout.publish(end)
        self.fanout.close()
        self.on_end()

    def _publish_rest(self, name: str) -> None:
        """Publish what is in a pipe by now, whoever else still holds it open."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(MAX_REST):
                if not self._publish_chunk(name):
                    break
        self._close_output(name)

    # -- input

    async def write_stdin(self, data: bytes) -> None:
        """Write to the pipe, waiting for the process to read; raises Internal when there is no open pipe."""
        if self._terminal is not None:
            raise Internal("error writing to stdin: this process has a terminal, write to that")
        if self._stdin is None:
            raise Internal("error writing to stdin: stdin not enabled or closed")
        await self._stdin.write(data)

    async def type_in(self, data: bytes) -> None:
        """Type on the terminal; raises Internal when there is none."""
        if self._typed is None:
            raise Internal("error writing to tty: tty not assigned to process")
        await self._typed.write(data)

    async def close_stdin(self) -> None:
        """Give the process the end of its input. Harmless when it has it; raises AgentError on a terminal."""
        if self._terminal is not None:
            raise AgentError("error closing stdin: a terminal has none to close; send it 0x04 instead")
        if self._stdin is not None:
            await self._stdin.finish()

    def resize(self, rows: int, cols: int) -> None:
        """Set the terminal's size in characters; raises Internal when there is no terminal."""
        if "pty" not in self._outputs:
            raise Internal("error resizing tty: tty not assigned to process")
        try:
            set_size(self._outputs["pty"], rows, cols)
        except OSError as error:
            raise translate(error, "error resizing tty") from error
