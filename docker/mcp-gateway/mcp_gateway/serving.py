"""The servers' tools behind one streamable HTTP endpoint that wants the token as bearer."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import traceback
from typing import Any, NoReturn

import uvicorn
from mcp import types
from mcp.client.session_group import ClientSessionGroup
from mcp.client.stdio import StdioServerParameters
from mcp.server.lowlevel import Server as McpServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from mcp_gateway.configuration import Server

PORT = 50005
START_S = 50
"""The SDKs wait a minute for all of them."""


async def serve(servers: list[Server], token: str, announcer: int) -> None:
    """Start the servers, write `ready` or what is wrong to the descriptor, and serve until told to stop."""
    async with ClientSessionGroup() as group:
        begun = asyncio.get_running_loop().time()
        for server in servers:
            await _connect(group, server, announcer, begun + START_S)
        sessions = StreamableHTTPSessionManager(make_gateway(group))
        async with sessions.run():
            await _listen(Guarded(sessions, token), announcer)


async def _connect(group: ClientSessionGroup, server: Server, announcer: int, deadline: float) -> None:
    parameters = StdioServerParameters(
        command="bash", args=["-c", server.run], cwd=server.folder, env={**os.environ, **server.env}
    )
    # Not a timeout around the call: what it opens is closed by others, later.
    late = f"did not answer within {START_S} s"
    timer = asyncio.get_running_loop().call_at(deadline, _give_up, server, late, announcer)
    try:
        await group.connect_to_server(parameters)
    except BaseException as error:  # one that ends shows as a cancellation
        traceback.print_exc()
        _give_up(server, f"did not start ({str(error) or type(error).__name__})", announcer)
    timer.cancel()


def _give_up(server: Server, why: str, announcer: int) -> NoReturn:
    """What was opened half cannot be closed in order; the end of this process ends what it has started."""
    os.write(announcer, f"MCP server '{server.name}' {why}: {server.run}".encode())
    sys.stderr.flush()
    os._exit(1)


def make_gateway(group: ClientSessionGroup) -> McpServer[Any]:
    """A server with the tools of all sessions in the group."""
    gateway: McpServer[Any] = McpServer("sandlot-mcp-gateway")

    @gateway.list_tools()
    async def list_tools() -> list[types.Tool]:
        return list(group.tools.values())

    @gateway.call_tool(validate_input=False)
    async def call_tool(name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        return await group.call_tool(name, arguments)

    return gateway


class Guarded:
    """An ASGI application: /mcp for whoever shows the token."""

    def __init__(self, sessions: StreamableHTTPSessionManager, token: str) -> None:
        self._sessions = sessions
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; 401 without the token, 404 elsewhere than /mcp."""
        if scope["type"] != "http":
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not secrets.compare_digest(given, self._wanted):
            await PlainTextResponse("a valid bearer token is needed", 401)(scope, receive, send)
        elif scope["path"].rstrip("/") != "/mcp":
            await PlainTextResponse("not found", 404)(scope, receive, send)
        else:
            await self._sessions.handle_request(scope, receive, send)


async def _listen(app: Guarded, announcer: int) -> None:
    config = uvicorn.Config(app, host="0.0.0.0", port=PORT, lifespan="off", access_log=False)  # noqa: S104 - the sandbox
    await Announced(config, announcer).serve()


class Announced(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config, announcer: int) -> None:
        super().__init__(config)
        self._announcer = announcer

    async def startup(self, sockets: Any = None) -> None:
        """Listen, and tell it; closes the descriptor either way."""
        await super().startup(sockets)
        if self.started:
            os.write(self._announcer, b"ready")
        os.close(self._announcer)
