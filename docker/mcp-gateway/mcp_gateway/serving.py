"""The servers' tools behind one streamable HTTP endpoint that wants the token as bearer."""

from __future__ import annotations

import os
import secrets
from typing import Any

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


async def serve(servers: list[Server], token: str, ready: int) -> None:
    """Start the servers, write a byte to the descriptor `ready` once they answer, and serve until told to stop."""
    async with ClientSessionGroup() as group:
        for server in servers:
            await group.connect_to_server(
                StdioServerParameters(
                    command="bash", args=["-c", server.run], cwd=server.folder, env=dict(os.environ) | server.env
                )
            )
        sessions = StreamableHTTPSessionManager(make_gateway(group))
        async with sessions.run():
            await _listen(Guarded(sessions, token), ready)


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


async def _listen(app: Guarded, ready: int) -> None:
    server = Announced(uvicorn.Config(app, host="0.0.0.0", port=PORT, lifespan="off", access_log=False), ready)  # noqa: S104 - the sandbox
    await server.serve()


class Announced(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config, ready: int) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        """Listen, and tell it; closes the descriptor either way."""
        await super().startup(sockets)
        if self.started:
            os.write(self._ready, b"1")
        os.close(self._ready)
