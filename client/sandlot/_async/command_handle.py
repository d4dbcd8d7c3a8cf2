"""A running command, followed by a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Generic, Protocol

from sandlot._async.envd import MessageStream
from sandlot._async.io import OutputHandler, TaskOwner, cancel, deliver, report
from sandlot._output import Output, OutputLog
from sandlot.exceptions import SandboxException
from sandlot.models import CommandResult, OutputT, PtyOutput, Stderr, Stdout


class Controls(Protocol):
    """What a handle can do to its process; commands and terminal sessions both have it."""

    async def kill(self, pid: int, request_timeout: float | None = None) -> bool: ...
    async def send_stdin(self, pid: int, data: Any, request_timeout: float | None = None) -> None: ...
    async def close_stdin(self, pid: int, request_timeout: float | None = None) -> None: ...


class AsyncCommandHandle(Generic[OutputT]):
    """A running command or terminal session.

    Its output is read in the background and handed to the callbacks as it comes. `wait()` returns the result,
    `async for stdout, stderr, pty in handle` gives the output from its beginning.
    """

    def __init__(
        self,
        pid: int,
        events: MessageStream,
        controls: Controls,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        on_pty: OutputHandler[PtyOutput] | None = None,
        retain_output: bool = True,
    ) -> None:
        self._pid = pid
        self._events = events
        self._controls = controls
        self._handlers: tuple[OutputHandler[Any] | None, ...] = (on_stdout, on_stderr, on_pty)
        self._log: OutputLog[OutputT] = OutputLog(retain_output)
        self._failure: Exception | None = None
        self._readers: list[asyncio.Queue[Output | None]] = []
        self._task: asyncio.Task[None] | None = None
        self._told = False

    def __del__(self) -> None:
        # That a command or its sandbox ended may go unheard, that a callback is broken may not.
        if (
            self._task is not None
            and self._failure
            and not self._told
            and not isinstance(self._failure, SandboxException)
        ):
            report(f"A callback of command {self._pid} failed, and nobody waited", self._failure, self._task.get_loop())

    @property
    def pid(self) -> int:
        """ID of the process in the sandbox."""
        return self._pid

    @property
    def stdout(self) -> OutputT:
        """Standard output so far."""
        return self._log.stdout

    @property
    def stderr(self) -> OutputT:
        """Standard error so far."""
        return self._log.stderr

    @property
    def error(self) -> str | None:
        """In words how the command failed; None when it has not, or not yet."""
        return self._log.result.error if self._log.result else None

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while the command runs."""
        return self._log.result.exit_code if self._log.result else None

    def _begin(self, tasks: TaskOwner) -> None:
        """Begin to read in the background; `tasks` owns the task until it ends."""
        self._task = tasks.spawn(self._follow())

    async def _follow(self) -> None:
        try:
            await self._read()
        except Exception as error:  # kept for whoever waits, callbacks' own errors included
            self._failure = error
        finally:
            for reader in self._readers:
                reader.put_nowait(None)

    async def _finish(self) -> CommandResult[OutputT]:
        """Read to the end here and now, without a task, and return the result."""
        await self._read()
        return self._log.conclude()

    async def _read(self) -> None:
        try:
            async for message in self._events:
                await self._hand_out(self._log.feed(message))
        except SandboxException:
            await self._hand_out(self._log.flush())
            raise
        finally:
            await self._events.aclose()

    async def _hand_out(self, outputs: list[Output]) -> None:
        for output in outputs:
            for reader in self._readers:
                reader.put_nowait(output)
            for handler, part in zip(self._handlers, output, strict=True):
                if handler is not None and part is not None:
                    await deliver(handler, part)

    async def __aiter__(self) -> AsyncIterator[Output]:
        reader: asyncio.Queue[Output | None] = asyncio.Queue()
        for output in self._log.kept or []:
            reader.put_nowait(output)
        if self._task is None or self._task.done():
            reader.put_nowait(None)
        self._readers.append(reader)
        try:
            while (output_or_end := await reader.get()) is not None:
                yield output_or_end
        finally:
            self._readers.remove(reader)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._told = True
            raise self._failure

    async def disconnect(self) -> None:
        """Stop following the command, which goes on; `commands.connect(pid)` follows it again."""
        if self._task is not None:
            await cancel(self._task)
        await self._events.aclose()

    async def wait(self) -> CommandResult[OutputT]:
        """Return the result when the command has ended; cancelling the wait leaves the command followed.

        Raises CommandExitException for an exit code other than zero, and what a callback raised.
        """
        if self._task is None:
            raise SandboxException("This handle does not follow its command.")
        await asyncio.wait([self._task])
        self._raise_failure()
        if self._task.cancelled():
            raise SandboxException(
                f"The handle was disconnected from the command; commands.connect({self._pid}) follows it again."
            )
        return self._log.conclude()

    async def kill(self) -> bool:
        """Kill the command with SIGKILL; False when it no longer runs."""
        return await self._controls.kill(self._pid)

    async def send_stdin(self, data: str | bytes, request_timeout: float | None = None) -> None:
        """Write to the command's standard input, which it has when started with `stdin=True`."""
        await self._controls.send_stdin(self._pid, data, request_timeout)

    async def close_stdin(self, request_timeout: float | None = None) -> None:
        """End the command's standard input."""
        await self._controls.close_stdin(self._pid, request_timeout)
