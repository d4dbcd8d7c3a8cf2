"""Commands and files in a container, through its agent: what builds and start commands need.

The way is the one of every SDK, so that a build step runs as the same command would in a sandbox.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiofiles
import httpx

from sandlot_protocol.http import ACCESS_TOKEN_HEADER
from sandlot_server.errors import AgentError, CommandRefused
from sandlot_server.models import Context

CONNECT_S = 10
CHUNK = 1 << 20
MAX_FRAME = 64 << 20
FRAME_HEAD = struct.Struct(">BI")
END_OF_STREAM = 2
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

OnOutput = Callable[[str, str], None]
"""Called with `stdout` or `stderr` and the text, whenever a command says something."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended."""

    code: int
    status: str
    """In words, as the agent has it: `exit status 1`, `signal: killed`."""


class Shell:
    """One container, seen through its agent; `access_token` is the sandbox's where it has one already."""

    def __init__(self, address: str, port: int, access_token: str | None = None) -> None:
        self._url = f"http://{address}:{port}"
        self._headers = {ACCESS_TOKEN_HEADER: access_token} if access_token else {}

    async def run(self, command: str, context: Context, on_output: OnOutput | None = None) -> Exit:
        """Run a command with bash to its end.

        Cancelling leaves it running. Raises CommandRefused when it cannot be started, AgentError when the agent goes
        away.
        """
        async with self._start(["/bin/bash", "-l", "-c", command], context) as events:
            return await _follow(events, on_output)

    async def run_program(self, argv: Sequence[str], on_output: OnOutput | None = None) -> Exit:
        """Run a program as root to its end; raises as `run` does."""
        async with self._start(argv, Context(user="root", workdir="/")) as events:
            return await _follow(events, on_output)

    async def start(self, command: str, context: Context) -> None:
        """Start a command with bash and let it run; raises as `run` does."""
        async with self._start(["/bin/bash", "-l", "-c", command], context) as events:
            async for event in events:
                if "start" in event:
                    return
        raise AgentError("the agent did not say that the command has started")

    async def upload(self, source: Path, target: str) -> None:
        """Copy a file of this machine into the container, as root's; raises AgentError."""
        headers = {**self._headers, "Content-Type": "application/octet-stream"}
        parameters = {"path": target, "username": "root"}
        async with self._connect() as client:
            try:
                reply = await client.post("/files", params=parameters, headers=headers, content=_read(source))
            except httpx.HTTPError as error:
                raise AgentError(f"the agent did not take {target}: {str(error) or type(error).__name__}") from error
        if reply.status_code >= 300:
            raise AgentError(f"the agent refused {target} with {reply.status_code}: {reply.text[:500]}")

    def _connect(self) -> httpx.AsyncClient:
        # A command may say nothing for as long as it likes: only connecting has a limit.
        return httpx.AsyncClient(base_url=self._url, timeout=httpx.Timeout(None, connect=CONNECT_S), trust_env=False)

    @asynccontextmanager
    async def _start(self, argv: Sequence[str], context: Context) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Start a process and yield its events."""
        body = json.dumps({"process": _describe(argv, context), "stdin": False}).encode()
        user = base64.b64encode(f"{context.user}:".encode()).decode()
        headers = {
            **self._headers,
            "Content-Type": "application/connect+json",
            "Connect-Protocol-Version": "1",
            "Authorization": f"Basic {user}",
        }
        content = FRAME_HEAD.pack(0, len(body)) + body
        try:
            async with (
                self._connect() as client,
                client.stream("POST", "/process.Process/Start", headers=headers, content=content) as reply,
            ):
                if reply.status_code != 200:
                    raise AgentError(f"the agent refused a command with {reply.status_code}: {await _read_text(reply)}")
                async with aclosing(_read_events(reply)) as events:
                    yield events
        except httpx.HTTPError as error:
            raise AgentError(f"the agent went away: {str(error) or type(error).__name__}") from error


def _describe(argv: Sequence[str], context: Context) -> dict[str, Any]:
    process: dict[str, Any] = {"cmd": argv[0], "args": list(argv[1:]), "envs": _complete_path(context.env)}
    if context.workdir is not None:
        process["cwd"] = context.workdir
    return process


def _complete_path(env: Mapping[str, str]) -> dict[str, str]:
    """A PATH that leaves the standard folders out would leave nothing to work with; E2B adds them too."""
    return {name: f"{value}:{STANDARD_PATH}" if name == "PATH" else value for name, value in env.items()}


async def _read_events(reply: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the events of a process; raises CommandRefused with what the stream says at its end."""
    frames = _Frames()
    async with aclosing(cast("AsyncGenerator[bytes, None]", reply.aiter_bytes())) as chunks:
        async for chunk in chunks:
            for flags, message in frames.feed(chunk):
                if flags & END_OF_STREAM:
                    _raise_for(message.get("error"))
                    return
                yield message.get("event", {})


class _Frames:
    """Cuts a stream into its messages."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield flags and content of every message that is complete now; raises AgentError."""
        self._buffer += data
        while len(self._buffer) >= FRAME_HEAD.size:
            flags, length = FRAME_HEAD.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise AgentError("the agent sent a frame that is too long")
            end = FRAME_HEAD.size + length
            if len(self._buffer) < end:
                return
            content, self._buffer = self._buffer[FRAME_HEAD.size : end], self._buffer[end:]
            yield flags, json.loads(content)


def _raise_for(error: dict[str, str] | None) -> None:
    if error is not None:
        raise CommandRefused(f"{error.get('code', 'unknown')}: {error.get('message', '')}")


async def _follow(events: AsyncIterator[dict[str, Any]], on_output: OnOutput | None) -> Exit:
    async for event in events:
        for stream, text in (event.get("data") or {}).items():
            if on_output is not None:
                on_output(stream, base64.b64decode(text).decode(errors="replace"))
        if "end" in event:
            return Exit(event["end"].get("exitCode", 0), event["end"].get("status", ""))
    raise AgentError("the agent went away before the command had ended")


async def _read_text(reply: httpx.Response) -> str:
    return (await reply.aread())[:500].decode(errors="replace")


async def _read(source: Path) -> AsyncIterator[bytes]:
    async with aiofiles.open(source, "rb") as file:
        while chunk := await file.read(CHUNK):
            yield chunk
