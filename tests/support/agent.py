"""A real agent in namespaces of its own, PID 1 as in a sandbox, and a client that speaks to it byte by byte."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import pack, unpack
from typing import Any

CONTROL_TOKEN = "control-token-of-the-tests"
PASSWD = "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000::{home}:/bin/bash\nother:x:1001:1001::/:/bin/sh\n"
GROUP = "root:x:0:\nuser:x:1000:\nother:x:1001:\nwheel:x:10:user,other\n"
BOX = """
set -e
mount -t tmpfs tmpfs /run
mount --bind "$BOX_DIR/passwd" /etc/passwd
mount --bind "$BOX_DIR/group" /etc/group
exec "$@"
"""
UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL", "sh", "-c", BOX, "box")
AGENT = (sys.executable, "-I", "-B", "-X", "frozen_modules=on", "-m", "sandlot_envd")


def can_box() -> bool:
    """Whether this machine lets us make namespaces."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"]).returncode == 0


class RpcFailed(Exception):
    """An RPC ended with an error."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"[{code}] {message}")
        self.code = code
        self.message = message
        self.status = status


@dataclass
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    interim: list[int] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection: sends bytes as they are, reads responses strictly."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_head(self) -> Answer:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = raw[:-4].decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", line)
        assert match is not None, line
        headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in fields)}
        assert len(headers) == len(fields), f"a header twice: {fields}"
        return Answer(int(match[1]), headers)

    async def read_answer(self, method: str = "GET") -> Answer:
        answer = await self.read_head()
        interim = []
        while answer.status == 100:
            interim.append(answer.status)
            answer = await self.read_head()
        answer.interim = interim
        if method != "HEAD" and answer.status not in (101, 204, 304):
            answer.body = await self._read_body(answer)
        return answer

    async def _read_body(self, answer: Answer) -> bytes:
        if answer.headers.get("transfer-encoding") == "chunked":
            return b"".join([chunk async for chunk in self.read_chunks()])
        if (length := answer.headers.get("content-length")) is not None:
            return await self.reader.readexactly(int(length))
        assert answer.headers.get("connection") == "close", answer.headers
        return await self.reader.read()

    async def read_chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readline(), 16):
            yield await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"

    async def is_closed(self) -> bool:
        """Wait for the end of the connection; whatever comes before it is dropped."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read()
        return True

    def abort(self) -> None:
        self.writer.transport.abort()


def frame(message: Any, flags: int = 0) -> bytes:
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return pack(">BI", flags, len(payload)) + payload


def basic(user: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()}


@dataclass
class Agent:
    """A running agent."""

    process: subprocess.Popen[bytes]
    port: int
    pid: int
    """Of the agent itself, as this machine sees it."""
    home: Path
    """The home of `user`."""
    token: str | None = None

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Wire]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 26)
        try:
            yield Wire(reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def head(self, method: str, target: str, headers: dict[str, str]) -> bytes:
        own = {"Host": "agent"} | ({"X-Access-Token": self.token} if self.token else {})
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in (own | headers).items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """Make one request on a connection of its own."""
        sized = {"Content-Length": str(len(body))} if body or method in ("POST", "PUT") else {}
        async with self.connect() as wire:
            await wire.send(self.head(method, target, sized | (headers or {})) + body)
            return await wire.read_answer(method)

    async def control(self, method: str, target: str, body: Any = None) -> Answer:
        """Make a request as the control plane."""
        raw = b"" if body is None else json.dumps(body).encode()
        return await self.request(method, target, raw, {"X-Sandlot-Control": CONTROL_TOKEN})

    async def init(self, **body: Any) -> None:
        answer = await self.control("POST", "/init", body)
        assert answer.status == 204, answer

    async def call(self, method: str, message: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Make a unary call in JSON; `method` is "process.Process/List" and the like."""
        own = {"Content-Type": "application/json", "Connect-Protocol-Version": "1"}
        answer = await self.request("POST", f"/{method}", json.dumps(message or {}).encode(), own | (headers or {}))
        if answer.status != 200:
            raise RpcFailed(answer.json["code"], answer.json["message"], answer.status)
        return answer.json

    async def send_stdin(self, pid: int, data: bytes) -> None:
        message = {"process": {"pid": pid}, "input": {"stdin": base64.b64encode(data).decode()}}
        await self.call("process.Process/SendInput", message)

    async def kill(self, pid: int) -> None:
        await self.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, message: Any, headers: dict[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """Open a server stream in JSON; yields its messages, raises RpcFailed at an end frame that says so."""
        body = frame(message)
        own = {"Content-Type": "application/connect+json", "Content-Length": str(len(body))}
        async with self.connect() as wire:
            await wire.send(self.head("POST", f"/{method}", own | (headers or {})) + body)
            answer = await wire.read_head()
            assert answer.status == 200, answer
            yield read_messages(wire, answer)

    async def collect(self, method: str, message: Any, headers: dict[str, str] | None = None) -> list[Any]:
        """Return all messages of a server stream."""
        async with self.stream(method, message, headers) as messages:
            return [one async for one in messages]

    async def run(self, *argv: str, headers: dict[str, str] | None = None, **fields: Any) -> Finished:
        """Run a command to its end. `fields` go into StartRequest, those of ProcessConfig into that."""
        events = await self.collect("process.Process/Start", start_request(*argv, **fields), headers)
        return Finished.read([one["event"] for one in events])


def start_request(*argv: str, **fields: Any) -> dict[str, Any]:
    config = {name: fields.pop(name) for name in ("envs", "cwd") if name in fields}
    return {"process": {"cmd": argv[0], "args": list(argv[1:]), **config}, "stdin": False, **fields}


@dataclass
class Finished:
    """What a command left."""

    pid: int
    stdout: bytes
    stderr: bytes
    pty: bytes
    end: dict[str, Any]

    @classmethod
    def read(cls, events: list[dict[str, Any]]) -> Finished:
        data = {"stdout": b"", "stderr": b"", "pty": b""}
        for event in events[1:-1]:
            for name, text in event.get("data", {}).items():
                data[name] += base64.b64decode(text)
        return cls(pid=events[0]["start"]["pid"], end=events[-1]["end"], **data)


async def read_messages(wire: Wire, answer: Answer) -> AsyncIterator[Any]:
    """Yield a stream's messages as they arrive."""
    buffer = b""
    async for chunk in _read_parts(wire, answer):
        buffer += chunk
        while len(buffer) >= 5 and len(buffer) >= 5 + (size := unpack(">BI", buffer[:5])[1]):
            flags, payload, buffer = buffer[0], buffer[5 : 5 + size], buffer[5 + size :]
            if flags & 2:
                assert not buffer, "bytes after the end frame"
                if error := json.loads(payload).get("error"):
                    raise RpcFailed(error["code"], error["message"], 200)
                return
            yield json.loads(payload)
    raise AssertionError("the stream had no end frame")


async def _read_parts(wire: Wire, answer: Answer) -> AsyncIterator[bytes]:
    if "content-length" in answer.headers:
        yield await wire.reader.readexactly(int(answer.headers["content-length"]))
        return
    async for chunk in wire.read_chunks():
        yield chunk


@contextlib.contextmanager
def run_agent(*, control_token: str | None = CONTROL_TOKEN, wrap: tuple[str, ...] = ()) -> Iterator[Agent]:
    """Run an agent in namespaces of its own; it ends, with all it started, when the block does."""
    with tempfile.TemporaryDirectory(prefix="sandlot-agent-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        Path(folder).chmod(0o755)
        os.chown(home, 1000, 1000)
        (Path(folder) / "passwd").write_text(PASSWD.format(home=home))
        (Path(folder) / "group").write_text(GROUP)
        env = {"PATH": os.defpath + ":/usr/sbin:/sbin", "BOX_DIR": folder, "SANDLOT_ENVD_PORT": "0"}
        env |= {"SANDLOT_CONTROL_TOKEN": control_token} if control_token else {}
        log = (Path(folder) / "log").open("wb+")
        process = subprocess.Popen([*UNSHARE, *wrap, *AGENT], env=env, stdin=subprocess.DEVNULL, stdout=log)
        try:
            port = _await_port(process, Path(folder) / "log")
            yield Agent(process, port, _find_child(process.pid), home)
        finally:
            # unshare's --kill-child does not outlast the agent's own changes of identity.
            with contextlib.suppress(IndexError, FileNotFoundError, ProcessLookupError):
                os.kill(_find_child(process.pid), signal.SIGKILL)
            process.kill()
            process.wait()
            log.close()


def _await_port(process: subprocess.Popen[bytes], log: Path) -> int:
    with log.open() as lines:
        while process.poll() is None:
            if match := re.search(r"listening on (\d+)", lines.readline()):
                return int(match[1])
    raise AssertionError(f"the agent ended with {process.returncode}: {log.read_text()}")


def _find_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
