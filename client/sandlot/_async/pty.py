"""Terminal sessions in a sandbox."""

from __future__ import annotations

from typing import Any

from sandlot._async.command_handle import AsyncCommandHandle
from sandlot._async.commands import first_pid
from sandlot._async.envd import Envd, MessageStream
from sandlot._async.input_handle import InputStreams
from sandlot._async.io import OutputHandler
from sandlot._frames import Message, encode_frame
from sandlot._input import InputKind, process_input, select
from sandlot.config import Username
from sandlot.exceptions import InvalidArgumentException
from sandlot.models import PtyOutput, PtySize

DEFAULT_ENVS = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


class Pty(InputStreams):
    """Opens terminal sessions in the sandbox, and talks to those that are open."""

    _input_kind: InputKind = "pty"

    def __init__(self, envd: Envd) -> None:
        self._envd = envd

    async def kill(self, pid: int, request_timeout: float | None = None) -> bool:
        """Kill a session's shell with SIGKILL; False when there is none with this pid."""
        request = {"process": select(pid), "signal": "SIGNAL_SIGKILL"}
        method = "process.Process/SendSignal"
        return await self._envd.attempt(method, request, "not_found", request_timeout=request_timeout)

    async def send_stdin(self, pid: int, data: bytes, request_timeout: float | None = None) -> None:
        """Type into a session. `request_timeout`: seconds for the request, 0 for no limit."""
        request = {"process": select(pid), "input": process_input("pty", data)}
        await self._envd.call("process.Process/SendInput", request, bool, request_timeout=request_timeout)

    async def create(
        self,
        size: PtySize,
        on_data: OutputHandler[PtyOutput],  # async only
        user: Username | None = None,
        cwd: str | None = None,
        envs: dict[str, str] | None = None,
        timeout: float | None = 60,
        request_timeout: float | None = None,
    ) -> AsyncCommandHandle[str]:
        """Open a session with an interactive login shell and return its handle, which gives its output.

        `timeout`: seconds the session may last, 0 for no limit. `request_timeout`: seconds until it must be open.
        """
        process: Message = {"cmd": "/bin/bash", "args": ["-i", "-l"], "envs": {**DEFAULT_ENVS, **(envs or {})}}
        if cwd is not None:
            process["cwd"] = cwd
        request = encode_frame({"process": process, "pty": _describe(size)})
        events = await self._envd.open_stream("process.Process/Start", request, user, timeout, request_timeout)
        return await self._follow(
            events,
            "start process",
            on_data,  # async only
        )

    async def connect(
        self,
        pid: int,
        on_data: OutputHandler[PtyOutput],  # async only
        timeout: float | None = 60,
        request_timeout: float | None = None,
    ) -> AsyncCommandHandle[str]:
        """Follow a session that is open; what it wrote before is not told again. Options as in `create`."""
        request = encode_frame({"process": select(pid)})
        events = await self._envd.open_stream(
            "process.Process/Connect", request, timeout=timeout, request_timeout=request_timeout
        )
        return await self._follow(
            events,
            "connect to process",
            on_data,  # async only
        )

    async def _follow(
        self, events: MessageStream, action: str, on_data: OutputHandler[PtyOutput] | None = None
    ) -> AsyncCommandHandle[str]:
        pid = await first_pid(events, action)
        handle: AsyncCommandHandle[str] = AsyncCommandHandle(pid, events, _Controls(self), on_pty=on_data)
        handle._begin(self._envd.tasks)
        return handle

    async def resize(self, pid: int, size: PtySize, request_timeout: float | None = None) -> None:
        """Tell a session that its window has changed size."""
        request = {"process": select(pid), "pty": _describe(size)}
        await self._envd.call("process.Process/Update", request, bool, request_timeout=request_timeout)


class _Controls:
    """What the handle of a session can do."""

    def __init__(self, pty: Pty) -> None:
        self._pty = pty

    async def kill(self, pid: int, request_timeout: float | None = None) -> bool:
        return await self._pty.kill(pid, request_timeout)

    async def send_stdin(self, pid: int, data: Any, request_timeout: float | None = None) -> None:
        await self._pty.send_stdin(pid, data, request_timeout)

    async def close_stdin(self, pid: int, request_timeout: float | None = None) -> None:
        raise InvalidArgumentException("A terminal's input has no end: send b'\\x04' (Ctrl-D) to its shell.")


def _describe(size: PtySize) -> Message:
    return {"size": {"rows": size.rows, "cols": size.cols}}
