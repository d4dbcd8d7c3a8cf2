"""The RPC methods of process.Process."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from sandlot_envd.codec import Message
from sandlot_envd.errors import BadRequest, NotFound, Unimplemented
from sandlot_envd.fields import read_bytes, read_flag, read_message, read_number, read_text
from sandlot_envd.paths import resolve
from sandlot_envd.process.execute import Program
from sandlot_envd.process.process import Process
from sandlot_envd.process.reaper import Reaper
from sandlot_envd.process.registry import Registry
from sandlot_envd.process.spawn import Spawned, spawn_piped, spawn_terminal
from sandlot_envd.rpc import Call, Service
from sandlot_envd.state import AgentState
from sandlot_envd.users import User

SIGNALS = {"SIGNAL_SIGKILL": 9, "SIGNAL_SIGTERM": 15, 9: 9, 15: 15}

KILL_S = 2.0
"""How long a kill waits for the kernel to carry it out, in seconds; a process stuck in a system call takes longer."""


def build(state: AgentState, reaper: Reaper) -> Service:
    """Return the service; its processes are reaped by `reaper`."""
    processes = Processes(state, Registry(state.clock, reaper, state.log))
    service = Service("process.Process")
    service.unary = {
        "List": processes.list_all,
        "Update": processes.update,
        "SendInput": processes.send_input,
        "SendSignal": processes.send_signal,
        "CloseStdin": processes.close_stdin,
    }
    service.server_stream = {"Start": processes.start, "Connect": processes.connect}
    service.client_stream = {"StreamInput": processes.stream_input}
    return service


class Processes:
    """One method for each RPC; a process's life is not tied to the request that started it."""

    def __init__(self, state: AgentState, registry: Registry) -> None:
        self._state = state
        self._registry = registry

    async def list_all(self, call: Call, message: Message) -> Message:
        """List what runs, PTYs included."""
        return {"processes": [_describe(process) for process in self._registry.list_running()]}

    async def start(self, call: Call, message: Message) -> AsyncGenerator[Message, None]:
        """Start a process and stream its events; the call's deadline is the process's."""
        process = self._start(call, message)
        if call.deadline_s is not None:
            process.kill_after(call.deadline_s)
        async with aclosing(_follow(process, call)) as events:
            async for event in events:
                yield event

    def _start(self, call: Call, message: Message) -> Process:
        user = call.find_user()
        config = _read_config(message)
        tag = read_text(message, "tag") if message.get("tag") is not None else None
        cwd = self._find_cwd(config.get("cwd", ""), user)
        argv = [config["cmd"], *config.get("args", [])]
        env = self._layer_env(user, config.get("envs", {}))
        program = Program(argv, env, cwd, user, alone=not self._state.threads.are_busy)
        process = Process(_spawn(program, message), config, tag, self._state.clock)
        self._registry.add(process)
        return process

    def _find_cwd(self, wanted: str, user: User) -> str:
        """Return where a process starts: in an image without the user's home at its root, unless told otherwise."""
        cwd = resolve(wanted, user, self._state.default_workdir)
        if os.path.exists(cwd):
            return cwd
        if wanted:
            raise BadRequest(f"cwd '{cwd}' does not exist")
        return "/"

    def _layer_env(self, user: User, own: dict[str, str]) -> dict[str, str]:
        """Later layers win: the image's, the user's, the sandbox's, the call's."""
        state = self._state
        base = {"PATH": state.path, "HOME": user.home, "USER": user.name, "LOGNAME": user.name}
        return {**state.image_env, **base, **state.user_env, **state.internal_env, **own}

    async def connect(self, call: Call, message: Message) -> AsyncGenerator[Message, None]:
        """Follow a running process, or learn the end of one that is just gone."""
        selector = message.get("process")
        try:
            process = self._registry.find(selector)
        except NotFound:
            ended = self._registry.find_ended(selector)
            if ended is None or ended.end is None:
                raise
            yield {"event": {"start": {"pid": ended.pid}}}
            yield {"event": ended.end}
            return
        async with aclosing(_follow(process, call)) as events:
            async for event in events:
                yield event

    async def update(self, call: Call, message: Message) -> Message:
        """Resize a terminal."""
        process = self._registry.find(message.get("process"))
        if message.get("pty") is not None:
            process.resize(*_read_size(message))
        return {}

    async def send_input(self, call: Call, message: Message) -> Message:
        """Write to stdin or type on the terminal."""
        await _write_input(self._registry.find(message.get("process")), message.get("input"))
        return {}

    async def stream_input(self, call: Call, messages: AsyncIterator[Message]) -> Message:
        """Write what comes, in order; the first message names the process."""
        process: Process | None = None
        async for message in messages:
            if "start" in message:
                process = self._registry.find(read_message(message, "start").get("process"))
            elif "data" in message:
                if process is None:
                    raise BadRequest("the stream's first message must name the process")
                await _write_input(process, read_message(message, "data").get("input"))
            elif "keepalive" not in message:
                raise Unimplemented("invalid event type: neither start nor data nor keepalive")
        return {}

    async def send_signal(self, call: Call, message: Message) -> Message:
        """Signal the process, not its group."""
        process = self._registry.find(message.get("process"))
        name = message.get("signal", "SIGNAL_UNSPECIFIED")
        number = SIGNALS.get(name) if isinstance(name, str | int) else None
        if number is None:
            raise Unimplemented(f"invalid signal: {name}")
        process.send_signal(number)
        if number == signal.SIGKILL:
            # Whoever looks for the process right after this call must not find it any more.
            await process.wait_reaped(KILL_S)
        return {}

    async def close_stdin(self, call: Call, message: Message) -> Message:
        """Give the process the end of its input."""
        await self._registry.find(message.get("process")).close_stdin()
        return {}


async def _follow(process: Process, call: Call) -> AsyncGenerator[Message, None]:
    subscriber = process.fanout.subscribe(call.keepalive_s)
    try:
        yield {"event": {"start": {"pid": process.pid}}}
        while (event := await subscriber.next()) is not None:
            yield {"event": event}
    finally:
        subscriber.leave()


def _spawn(program: Program, message: Message) -> Spawned:
    if message.get("pty") is not None:
        return spawn_terminal(program, *_read_size(message))
    return spawn_piped(program, read_flag(message, "stdin", default=True))


def _describe(process: Process) -> Message:
    described: Message = {"config": process.config, "pid": process.pid}
    return described if process.tag is None else {**described, "tag": process.tag}


def _read_config(message: Message) -> dict[str, Any]:
    """Return the checked ProcessConfig, fields without a value left out."""
    given = read_message(message, "process")
    config = {
        "cmd": read_text(given, "cmd"),
        "args": _read_args(given),
        "envs": _read_envs(given),
        "cwd": read_text(given, "cwd"),
    }
    if not config["cmd"]:
        raise BadRequest("no command given")
    return {name: value for name, value in config.items() if value}


def _read_args(config: Message) -> list[str]:
    args = config.get("args") or []
    if not isinstance(args, list):
        raise BadRequest("args is not a list")
    return [read_text({"args": arg}, "args") for arg in args]


def _read_envs(config: Message) -> dict[str, str]:
    envs = config.get("envs") or {}
    if not isinstance(envs, dict):
        raise BadRequest("envs is not a map")
    for name in envs:
        if not name or "=" in name or "\0" in name:
            raise BadRequest("the name of an environment variable is empty or contains '=' or NUL")
    return {name: read_text(envs, name) for name in envs}


def _read_size(message: Message) -> tuple[int, int]:
    """Return rows and columns; E2B, too, keeps what fits into a terminal's 16 bits."""
    size = read_message(message, "pty").get("size")
    if size is None:
        return 0, 0
    if not isinstance(size, dict):
        raise BadRequest("size is not an object")
    return read_number(size, "rows") & 0xFFFF, read_number(size, "cols") & 0xFFFF


async def _write_input(process: Process, value: Any) -> None:
    if not isinstance(value, dict):
        raise Unimplemented("invalid input type: none given")
    if value.get("stdin") is not None:
        await process.write_stdin(read_bytes(value, "stdin"))
    elif value.get("pty") is not None:
        await process.type_in(read_bytes(value, "pty"))
    else:
        raise Unimplemented("invalid input type: neither stdin nor pty")
