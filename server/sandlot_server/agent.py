"""The server's calls to the agent in a container: few, small, on the way of every create, so made without a library.

One connection per call: the agent is one hop away, and an idle container should hold no connection open.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import httptools

from sandlot_protocol.http import ACCESS_TOKEN_HEADER, CONTROL_TOKEN_HEADER
from sandlot_server.errors import AgentError

HEALTH_TRY_S = 0.5
HEALTH_PAUSE_S = 0.004
CALL_S = 10
ERROR_TEXT_BYTES = 500


@dataclass(frozen=True, slots=True)
class Reply:
    """An agent's answer."""

    status: int
    body: bytes


class _Exchange(asyncio.Protocol):
    """Sends one request and collects the one response."""

    def __init__(self, request: bytes, reply: asyncio.Future[Reply]) -> None:
        self._request = request
        self._reply = reply
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if not self._reply.done():
            self._reply.set_result(Reply(self._parser.get_status_code(), b"".join(self._body)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("the connection ended before the answer"))

    def _fail(self, error: Exception) -> None:
        if not self._reply.done():
            self._reply.set_exception(error)


class Agent:
    """The agent that listens at one address."""

    def __init__(self, address: str, port: int, control_token: str) -> None:
        self._address = address
        self._port = port
        self._token = control_token

    async def wait_until_healthy(self, deadline_s: float) -> None:
        """Return once the agent answers; raises AgentError after `deadline_s` seconds without an answer."""
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        while not await self.is_healthy():
            if loop.time() > end:
                raise AgentError(f"the agent did not answer within {deadline_s:.0f} s")
            await asyncio.sleep(HEALTH_PAUSE_S)

    async def is_healthy(self) -> bool:
        """Whether the agent answers at this moment."""
        try:
            return (await self._exchange("GET", "/health", b"", HEALTH_TRY_S)).status < 300
        except (OSError, TimeoutError, httptools.HttpParserError):
            return False

    async def init(self, values: Mapping[str, Any]) -> None:
        """Tell the agent which sandbox it is."""
        await self._command("/init", values)

    async def freeze(self) -> None:
        """Tell the agent that every process is about to stand still."""
        await self._command("/freeze", {})

    async def unfreeze(self) -> None:
        """Tell the agent that processes go on."""
        await self._command("/unfreeze", {})

    async def read_metrics(self, access_token: str | None) -> dict[str, Any]:
        """Ask what the sandbox uses; the agent wants the sandbox's token for it."""
        headers = {ACCESS_TOKEN_HEADER: access_token} if access_token is not None else {}
        values: dict[str, Any] = json.loads((await self._call("GET", "/metrics", b"", headers)).body)
        return values

    async def _command(self, path: str, values: Mapping[str, Any]) -> None:
        await self._call("POST", path, json.dumps(values, separators=(",", ":")).encode())

    async def _call(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        try:
            reply = await self._exchange(method, path, body, CALL_S, headers)
        except (OSError, TimeoutError, httptools.HttpParserError) as error:
            raise AgentError(f"the agent did not answer {path}: {str(error) or type(error).__name__}") from error
        if reply.status >= 300:
            text = reply.body[:ERROR_TEXT_BYTES].decode(errors="replace")
            raise AgentError(f"the agent refused {path} with {reply.status}: {text}")
        return reply

    async def _exchange(
        self, method: str, path: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Reply:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._address}:{self._port}\r\nConnection: close\r\n"
            f"{CONTROL_TOKEN_HEADER}: {self._token}\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
            + f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Reply] = loop.create_future()
        # Whoever is cancelled while the connection is made does not ask how it ended.
        reply.add_done_callback(lambda done: done.cancelled() or done.exception())
        async with asyncio.timeout(timeout_s):
            transport, _ = await loop.create_connection(
                lambda: _Exchange(head.encode("latin-1") + body, reply), self._address, self._port
            )
            try:
                return await reply
            finally:
                transport.abort()
