"""A running command, followed by whoever asks for its output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol

from sandlot._output import Output, OutputLog
from sandlot._sync.envd import MessageStream
from sandlot._sync_support.io import OutputHandler, TaskOwner, deliver
from sandlot.models import CommandResult, OutputT, PtyOutput, Stderr, Stdout


class Controls(Protocol):
    """What a handle can do to its process; commands and terminal sessions both have it."""

    def kill(self, pid: int, request_timeout: float | None = None) -> bool: ...
    def send_stdin(self, pid: int, data: Any, request_timeout: float | None = None) -> None: ...
    def close_stdin(self, pid: int, request_timeout: float | None = None) -> None: ...


class CommandHandle(Generic[OutputT]):
    """A running command or terminal session.

    Nothing is read in the background: `wait()` reads to the end, `for stdout, stderr, pty in handle` as it goes.
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

    @property
    def pid(self) -> int:
        """ID of the process in the sandbox."""
        return self._pid

    @property
    def stdout(self) -> OutputT:
        """Standard output read so far."""
        return self._log.stdout

    @property
    def stderr(self) -> OutputT:
        """Standard error read so far."""
        return self._log.stderr

    @property
    def error(self) -> str | None:
        """In words how the command failed; None when it has not, or its end was not read yet."""
        return self._log.result.error if self._log.result else None

    @property
    def exit_code(self) -> int | None:
        """The exit code; None until the command's end was read."""
        return self._log.result.exit_code if self._log.result else None

    def _begin(self, tasks: TaskOwner) -> None:
        """Nothing is to be begun: whoever asks for output reads it."""

    def __iter__(self) -> Iterator[Output]:
        try:
            for message in self._events:
                for output in self._log.feed(message):
                    self._hand_out(output, self._handlers)
                    yield output
            if self._log.result is None:
                yield from self._log.flush()
        except Exception as error:
            self._failure = error
            self._events.close()
            raise

    @staticmethod
    def _hand_out(output: Output, handlers: tuple[OutputHandler[Any] | None, ...]) -> None:
        for handler, part in zip(handlers, output, strict=True):
            if handler is not None and part is not None:
                deliver(handler, part)

    def wait(
        self,
        on_pty: Callable[[PtyOutput], None] | None = None,
        on_stdout: Callable[[str], None] | None = None,
        on_stderr: Callable[[str], None] | None = None,
    ) -> CommandResult[OutputT]:
        """Read the output to the command's end and return the result.

        Raises CommandExitException for an exit code other than zero.
        """
        if self._failure is not None:
            raise self._failure
        for output in self:
            self._hand_out(output, (on_stdout, on_stderr, on_pty))
        return self._log.conclude()

    def _finish(self) -> CommandResult[OutputT]:
        """Read to the end, whatever happens close the stream, and return the result."""
        try:
            return self.wait()
        finally:
            self._events.close()

    def disconnect(self) -> None:
        """Stop following the command, which goes on; `commands.connect(pid)` follows it again."""
        self._events.close()

    def kill(self) -> bool:
        """Kill the command with SIGKILL; False when it no longer runs."""
        return self._controls.kill(self._pid)

    def send_stdin(self, data: str | bytes, request_timeout: float | None = None) -> None:
        """Write to the command's standard input, which it has when started with `stdin=True`."""
        self._controls.send_stdin(self._pid, data, request_timeout)

    def close_stdin(self, request_timeout: float | None = None) -> None:
        """End the command's standard input."""
        self._controls.close_stdin(self._pid, request_timeout)
