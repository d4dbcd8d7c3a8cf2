"""One running command: its output to the listeners, its input from the clients, its end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

from sandlot_envd.clock import Clock, Timer
from sandlot_envd.errors import Internal, translate
from sandlot_envd.process.fanout import Event, Fanout
from sandlot_envd.process.spawn import Spawned, set_size

CHUNK = {"stdout": 32 * 1024, "stderr": 32 * 1024, "pty": 16 * 1024}
"""Bytes of one data event, as E2B's agent reads them."""


class Process:
    """A started process and everything attached to it, until its end event is published."""

    def __init__(self, spawned: Spawned, config: dict[str, Any], tag: str | None, clock: Clock) -> None:
        self.pid = spawned.pid
        self.config = config
        self.tag = tag
        self.fanout = Fanout(clock, self._set_pressure)
        self.end: Event | None = None
        self.timed_out = False
        self.on_end: Callable[[], None] = lambda: None
        self._outputs = dict(spawned.outputs)
        self._stdin = spawned.stdin
        self._status: int | None = None
        self._signalled = False
        self._deadline: Timer | None = None
        self._input_turn = asyncio.Lock()
        self._paused = False
        for name in self._outputs:
            self._listen(name)

    def kill_after(self, seconds: float, clock: Clock) -> None:
        """Kill it when so many seconds of the sandbox's own time have passed."""
        self._deadline = clock.call_later(seconds, self._expire)

    def _expire(self) -> None:
        self.timed_out = True
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Signal the process itself, not its group. Its end no longer waits for others that hold its output."""
        self._signalled = True
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    # -- output

    def _listen(self, name: str) -> None:
        asyncio.get_running_loop().add_reader(self._outputs[name], self._pump, name)

    def _set_pressure(self, full: bool) -> None:
        self._paused = full
        for name, fd in self._outputs.items():
            if full:
                asyncio.get_running_loop().remove_reader(fd)
            else:
                self._listen(name)

    def _pump(self, name: str) -> bool:
        """Publish one chunk; returns whether there was one."""
        try:
            data = os.read(self._outputs[name], CHUNK[name])
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last process on the terminal is gone
            data = b""
        if data:
            self.fanout.publish({"data": {name: base64.b64encode(data).decode()}})
            return True
        self._close_output(name)
        self._finish_if_done()
        return False

    def _close_output(self, name: str) -> None:
        fd = self._outputs.pop(name)
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)

    # -- end

    def exited(self, status: int) -> None:
        """The reaper has its wait status."""
        self._status = status
        if self._deadline is not None:
            self._deadline.cancel()
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self._status is None or self.end is not None:
            return
        if self._outputs and self._signalled:
            self._drain_rest()
        elif self._outputs:
            return
        self._close_input()
        self.end = {"end": describe_exit(self._status)}
        self.fanout.publish(self.end)
        self.fanout.close()
        self.on_end()

    def _drain_rest(self) -> None:
        """Publish what is in the pipes by now, whoever else still holds them open."""
        for name in list(self._outputs):
            while name in self._outputs and self._pump_quietly(name):
                pass
            if name in self._outputs:
                self._close_output(name)

    def _pump_quietly(self, name: str) -> bool:
        try:
            data = os.read(self._outputs[name], CHUNK[name])
        except OSError:
            return False
        if data:
            self.fanout.publish({"data": {name: base64.b64encode(data).decode()}})
        return bool(data)

    # -- input

    async def write_stdin(self, data: bytes) -> None:
        """Write to the pipe, waiting for the process to read; raises Internal when there is no open pipe."""
        if self._stdin is None:
            raise Internal("stdin not enabled or closed")
        await self._write(self._stdin, data)

    async def write_terminal(self, data: bytes) -> None:
        """Type on the terminal; raises Internal when there is none."""
        if "pty" not in self._outputs:
            raise Internal("pty not assigned to process")
        await self._write(self._outputs["pty"], data)

    async def _write(self, fd: int, data: bytes) -> None:
        async with self._input_turn:
            view = memoryview(data)
            while view:
                try:
                    view = view[os.write(fd, view) :]
                except BlockingIOError:
                    await self._wait_writable(fd)
                except OSError as error:
                    raise Internal(f"error writing to process: {error.strerror}") from error
                if self.end is not None:
                    raise Internal("the process has ended")

    async def _wait_writable(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(fd, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(fd)

    def close_stdin(self) -> None:
        """Give the process the end of its input. Harmless when it has it; raises Internal on a terminal."""
        if "pty" in self._outputs:
            raise Internal("a terminal has no stdin to close; send it 0x04 instead")
        self._close_input()

    def _close_input(self) -> None:
        if self._stdin is not None:
            fd, self._stdin = self._stdin, None
            asyncio.get_running_loop().remove_writer(fd)
            os.close(fd)

    def resize(self, rows: int, cols: int) -> None:
        """Set the terminal's size in characters; raises Internal when there is no terminal."""
        if "pty" not in self._outputs:
            raise Internal("tty not assigned to process")
        try:
            set_size(self._outputs["pty"], rows, cols)
        except OSError as error:
            raise translate(error, "resizing the terminal") from error


def describe_exit(status: int) -> dict[str, Any]:
    """Return the end event of a wait status, in the words of Go's os.ProcessState."""
    if os.WIFSIGNALED(status):
        text = f"signal: {_describe_signal(os.WTERMSIG(status))}"
        if os.WCOREDUMP(status):
            text += " (core dumped)"
        return {"exitCode": -1, "exited": False, "status": text, "error": text}
    code = os.WEXITSTATUS(status)
    text = f"exit status {code}"
    end: dict[str, Any] = {"exitCode": code, "exited": True, "status": text}
    return {**end, "error": text} if code else end


def _describe_signal(number: int) -> str:
    return (signal.strsignal(number) or f"signal {number}").lower()
