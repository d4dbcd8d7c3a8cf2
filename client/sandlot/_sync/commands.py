# Generated from client/sandlot/_async/commands.py by sandlot._dev.unasync: change that file, not this one.
"""Commands in a sandbox."""

from __future__ import annotations

import builtins
from typing import Any, Literal, overload

from sandlot._frames import Message, encode_frame
from sandlot._input import InputKind, process_input, select
from sandlot._output import read_start
from sandlot._sync.envd import Envd, MessageStream
from sandlot._sync_support.command_handle import CommandHandle
from sandlot._sync_support.input_handle import InputStreams
from sandlot._sync_support.io import OutputHandler
from sandlot._versions import CLOSE_STDIN, STDIN_CHOICE, require
from sandlot._wire import parse_processes
from sandlot.config import Username
from sandlot.models import CommandResult, ProcessInfo, Stderr, Stdout


class Commands(InputStreams):
    """Runs commands in the sandbox, and talks to those that run."""

    _input_kind: InputKind = "stdin"

    def __init__(self, envd: Envd) -> None:
        self._envd = envd

    def list(self, request_timeout: float | None = None) -> builtins.list[ProcessInfo]:
        """Return the running commands and terminal sessions.

        `request_timeout`, here and below: seconds for the request, 0 for no limit.
        """
        return self._envd.call("process.Process/List", {}, parse_processes, request_timeout=request_timeout)

    def kill(self, pid: int, request_timeout: float | None = None) -> bool:
        """Kill a command with SIGKILL; False when there is none with this pid."""
        request = {"process": select(pid), "signal": "SIGNAL_SIGKILL"}
        method = "process.Process/SendSignal"
        return self._envd.attempt(method, request, "not_found", request_timeout=request_timeout)

    def send_stdin(self, pid: int, data: str | bytes, request_timeout: float | None = None) -> None:
        """Write to the standard input of a command started with `stdin=True`."""
        request = {"process": select(pid), "input": process_input("stdin", data)}
        self._envd.call("process.Process/SendInput", request, bool, request_timeout=request_timeout)

    def close_stdin(self, pid: int, request_timeout: float | None = None) -> None:
        """End the standard input of a command started with `stdin=True`."""
        require(self._envd.version, CLOSE_STDIN, "closing stdin")
        request = {"process": select(pid)}
        self._envd.call("process.Process/CloseStdin", request, bool, request_timeout=request_timeout)

    @overload
    def run(
        self,
        cmd: str,
        background: Literal[False] | None = None,
        envs: dict[str, str] | None = None,
        user: Username | None = None,
        cwd: str | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        stdin: bool | None = None,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        *,
        retain_output: Literal[True] = True,
    ) -> CommandResult[str]: ...

    @overload
    def run(
        self,
        cmd: str,
        background: Literal[False] | None = None,
        envs: dict[str, str] | None = None,
        user: Username | None = None,
        cwd: str | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        stdin: bool | None = None,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        *,
        retain_output: Literal[False],
    ) -> CommandResult[None]: ...

    @overload
    def run(
        self,
        cmd: str,
        background: Literal[False] | None = None,
        envs: dict[str, str] | None = None,
        user: Username | None = None,
        cwd: str | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        stdin: bool | None = None,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        *,
        retain_output: bool,
    ) -> CommandResult[str | None]: ...

    @overload
    def run(
        self,
        cmd: str,
        background: Literal[True],
        envs: dict[str, str] | None = None,
        user: Username | None = None,
        cwd: str | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        stdin: bool | None = None,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        *,
        retain_output: Literal[True] = True,
    ) -> CommandHandle[str]: ...

    @overload
    def run(
        self,
        cmd: str,
        background: Literal[True],
        envs: dict[str, str] | None = None,
        user: Username | None = None,
        cwd: str | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        stdin: bool | None = None,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        *,
        retain_output: Literal[False],
    ) -> CommandHandle[None]: ...

    @overload
    def run(
        self,
        cmd: str,
        background: Literal[True],
        envs: dict[str, str] | None = None,
        user: Username | None = None,
        cwd: str | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        stdin: bool | None = None,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        *,
        retain_output: bool,
    ) -> CommandHandle[str | None]: ...

    def run(
        self,
        cmd: str,
        background: bool | None = None,
        envs: dict[str, str] | None = None,
        user: Username | None = None,
        cwd: str | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        stdin: bool | None = None,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        *,
        retain_output: bool = True,
    ) -> Any:
        """Run a command with `bash -l -c`.

        In the foreground it returns a `CommandResult`, or raises CommandExitException when the exit code is not
        zero. With `background=True` it returns a handle as soon as the command has started.

        `on_stdout`, `on_stderr`: called with the output as it comes.
        `stdin`: whether the command gets a standard input that can be written to.
        `timeout`: seconds the command may run before it is killed, 0 for no limit.
        `request_timeout`: seconds until it must have started.
        `retain_output`: False not to collect the output; `stdout` and `stderr` are then None.
        """
        if stdin is False:
            require(self._envd.version, STDIN_CHOICE, "stdin=False")
        process: Message = {"cmd": "/bin/bash", "args": ["-l", "-c", cmd], "envs": envs or {}}
        if cwd is not None:
            process["cwd"] = cwd
        request = {"process": process, "stdin": bool(stdin)}
        events = self._envd.open_stream("process.Process/Start", encode_frame(request), user, timeout, request_timeout)
        pid = first_pid(events, "start process")
        handle: CommandHandle[Any] = CommandHandle(pid, events, self, on_stdout, on_stderr, retain_output=retain_output)
        if not background:
            return handle._finish()
        handle._begin(self._envd.tasks)
        return handle

    @overload
    def connect(
        self,
        pid: int,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        *,
        retain_output: Literal[True] = True,
    ) -> CommandHandle[str]: ...

    @overload
    def connect(
        self,
        pid: int,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        *,
        retain_output: Literal[False],
    ) -> CommandHandle[None]: ...

    @overload
    def connect(
        self,
        pid: int,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        *,
        retain_output: bool,
    ) -> CommandHandle[str | None]: ...

    def connect(
        self,
        pid: int,
        timeout: float | None = 60,
        request_timeout: float | None = None,
        on_stdout: OutputHandler[Stdout] | None = None,
        on_stderr: OutputHandler[Stderr] | None = None,
        *,
        retain_output: bool = True,
    ) -> Any:
        """Follow a command that runs; what it wrote before is not told again. Options as in `run`."""
        request = encode_frame({"process": select(pid)})
        events = self._envd.open_stream(
            "process.Process/Connect", request, timeout=timeout, request_timeout=request_timeout
        )
        pid = first_pid(events, "connect to process")
        handle: CommandHandle[Any] = CommandHandle(pid, events, self, on_stdout, on_stderr, retain_output=retain_output)
        handle._begin(self._envd.tasks)
        return handle


def first_pid(events: MessageStream, action: str) -> int:
    """Read the first message of a process's stream and return the pid in it; on failure the stream is closed."""
    try:
        return read_start(next(events, {}), action)
    except BaseException:
        events.close()
        raise
