"""The RPC methods of process.Process."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from sandlot_envd.codec import Message
from sandlot_envd.errors import BadRequest, DeadlineExceeded, NotFound, Unimplemented
from sandlot_envd.paths import resolve
from sandlot_envd.process.fanout import Event, Subscriber
from sandlot_envd.process.process import Process
from sandlot_envd.process.reaper import Reaper
from sandlot_envd.process.registry import Registry
from sandlot_envd.process.spawn import Spawned, spawn_piped, spawn_terminal
from sandlot_envd.rpc import Call, Service
from sandlot_envd.state import AgentState
from sandlot_envd.users import User

SIGNALS = {"SIGNAL_SIGKILL": 9, "SIGNAL_SIGTERM": 15, 9: 9, 15: 15}


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
        subscriber = process.fanout.subscribe()
        if call.deadline_s is not None:
            process.kill_after(call.deadline_s, self._state.clock)
        async for event in self._follow(process, subscriber, call):
            yield event

    def _start(self, call: Call, message: Message) -> Process:
        user = call.find_user()
        config = _read_config(message)
        spawned = self._spawn(config, message, user)
        tag = message.get("tag")
        process = Process(spawned, config, tag if isinstance(tag, str) else None, self._state.clock)
        self._registry.add(process)
        return process

    def _spawn(self, config: dict[str, Any], message: Message, user: User) -> Spawned:
        argv = [config["cmd"], *config.get("args", [])]
        cwd = resolve(config.get("cwd", ""), user, self._state.default_workdir)
        env = self._layer_env(user, config.get("envs", {}))
        if message.get("pty") is not None:
            rows, cols = _read_size(message)
            return spawn_terminal(argv, env, cwd, user, rows, cols)
        return spawn_piped(argv, env, cwd, user, message.get("stdin", True) is not False)

    def _layer_env(self, user: User, own: dict[str, str]) -> dict[str, str]:
        """Later layers win: the user's, the sandbox's, the call's."""
        base = {"PATH": self._state.path, "HOME": user.home, "USER": user.name, "LOGNAME": user.name}
        return {**base, **self._state.default_env, **own}

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
        expired = self._expire_after(call, subscriber := process.fanout.subscribe())
        try:
            async for event in self._follow(process, subscriber, call):
                yield event
        finally:
            expired()
        if subscriber.expired:
            raise DeadlineExceeded("the deadline of the stream is over")

    def _expire_after(self, call: Call, subscriber: Subscriber) -> Any:
        if call.deadline_s is None:
            return lambda: None
        return self._state.clock.call_later(call.deadline_s, subscriber.expire).cancel

    async def _follow(self, process: Process, subscriber: Subscriber, call: Call) -> AsyncIterator[Message]:
        try:
            yield {"event": {"start": {"pid": process.pid}}}
            while (event := await subscriber.next(call.keepalive_s)) is not None:
                if _is_end(event) and process.timed_out:
                    raise DeadlineExceeded("the deadline of the process is over; it was killed")
                yield {"event": event}
        finally:
            subscriber.leave()

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
                process = self._registry.find(_read_dict(message, "start").get("process"))
            elif "data" in message:
                if process is None:
                    raise BadRequest("the stream's first message must name the process")
                await _write_input(process, _read_dict(message, "data").get("input"))
        return {}

    async def send_signal(self, call: Call, message: Message) -> Message:
        """Signal the process, not its group."""
        process = self._registry.find(message.get("process"))
        number = SIGNALS.get(message.get("signal", ""))
        if number is None:
            raise Unimplemented(f"invalid signal: {message.get('signal', 'SIGNAL_UNSPECIFIED')}")
        process.send_signal(number)
        return {}

    async def close_stdin(self, call: Call, message: Message) -> Message:
        """Give the process the end of its input."""
        self._registry.find(message.get("process")).close_stdin()
        return {}


def _is_end(event: Event) -> bool:
    return "end" in event


def _describe(process: Process) -> Message:
    described: Message = {"config": process.config, "pid": process.pid}
    return described if process.tag is None else {**described, "tag": process.tag}


def _read_dict(message: Message, name: str) -> dict[str, Any]:
    value = message.get(name)
    if not isinstance(value, dict):
        raise BadRequest(f"{name} is missing or not an object")
    return value


def _read_config(message: Message) -> dict[str, Any]:
    """Return the checked ProcessConfig; strings that no program can be given are refused."""
    config = _read_dict(message, "process")
    args, envs = config.get("args", []), config.get("envs", {})
    strings = [config.get("cmd", ""), config.get("cwd") or "", *args] if isinstance(args, list) else [None]
    strings += [*envs.keys(), *envs.values()] if isinstance(envs, dict) else [None]
    if not all(isinstance(text, str) and "\0" not in text for text in strings):
        raise BadRequest("cmd, args, cwd and envs must be strings without NUL characters")
    if not config.get("cmd"):
        raise BadRequest("no command given")
    if any(not name or "=" in name for name in envs):
        raise BadRequest("the name of an environment variable is empty or contains '='")
    return {name: config[name] for name in ("cmd", "args", "envs", "cwd") if config.get(name)}


def _read_size(message: Message) -> tuple[int, int]:
    size = _read_dict(message, "pty").get("size") or {}
    rows, cols = size.get("rows", 0), size.get("cols", 0)
    if not all(isinstance(n, int) and 0 <= n <= 0xFFFF for n in (rows, cols)):
        raise BadRequest("rows and cols must be between 0 and 65535")
    return rows, cols


async def _write_input(process: Process, value: Any) -> None:
    if not isinstance(value, dict) or not (value.keys() & {"stdin", "pty"}):
        raise Unimplemented("invalid input type")
    kind = "stdin" if "stdin" in value else "pty"
    try:
        data = base64.b64decode(value[kind], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise BadRequest(f"{kind} is not base64: {error}") from error
    await (process.write_stdin(data) if kind == "stdin" else process.write_terminal(data))
