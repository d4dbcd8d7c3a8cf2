"""Puts the agent together: routes, guards, the listener and the reaper."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from sandlot_envd import files, filesystem, init, metrics, process, tunnel
from sandlot_envd.auth import guard
from sandlot_envd.connection import Connection
from sandlot_envd.errors import AgentError, Internal, NotFound
from sandlot_envd.http import Handler, Request, Response, Routes, answer_error
from sandlot_envd.process.reaper import Reaper
from sandlot_envd.state import AgentState

BACKLOG = 1024
CORS = {"Access-Control-Allow-Origin": "*"}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "*",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "7200",
    "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
}
EXPOSED = "Location, Cache-Control, X-Content-Type-Options, Connect-Content-Encoding, Grpc-Status, Grpc-Message"


class App:
    """One agent on one port. Everything it starts ends with `close`."""

    def __init__(self, state: AgentState) -> None:
        self.state = state
        self.reaper = Reaper()
        self._connections: set[Connection] = set()
        self._routes = {route: guard(state, route, handler) for route, handler in self._collect().items()}
        self._paths = {path for _, path in self._routes}
        self._servers: list[asyncio.Server] = []

    def _collect(self) -> Routes:
        state = self.state
        collected: Routes = {}
        for routes in (init.routes(state), tunnel.routes(state), files.routes(state), metrics.routes(state)):
            collected.update(routes)
        for service in (process.build(state, self.reaper), filesystem.build(state)):
            collected.update(service.routes(state))
        return collected

    async def handle(self, request: Request) -> Response:
        """Answer one request; a defect of ours becomes a 500 that says so."""
        try:
            response = await self._dispatch(request)
        except AgentError as error:
            response = answer_error(error)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            self.state.log.write("handler failed", "error", path=request.path, error=repr(error))
            response = answer_error(Internal(f"the agent failed: {type(error).__name__}"))
        if "origin" in request.headers:
            response.headers.update({**CORS, "Access-Control-Expose-Headers": EXPOSED})
        return response

    async def _dispatch(self, request: Request) -> Response:
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return Response(204, headers=dict(PREFLIGHT))
        handler: Handler | None = self._routes.get((request.method, request.path))
        if handler is not None:
            return await handler(request)
        if request.path in self._paths:
            return Response(405)
        raise NotFound(f"no such route: {request.path}")

    async def start(self, port: int) -> int:
        """Listen on all addresses, IPv6 too where there is any; returns the port that was bound."""
        loop = asyncio.get_running_loop()
        self.reaper.start()
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - the sandbox's own
            with contextlib.suppress(OSError) if self._servers else contextlib.nullcontext():
                server = await loop.create_server(self._connect, address, port, family=family, backlog=BACKLOG)
                port = server.sockets[0].getsockname()[1]
                self._servers.append(server)
        return port

    def _connect(self) -> Connection:
        return Connection(self.handle, self._connections, self._report)

    def _report(self, request: Request, error: Exception) -> None:
        self.state.log.write("answer failed", "error", path=request.path, error=repr(error))

    async def close(self) -> None:
        """Stop listening and cut all connections."""
        self.reaper.stop()
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.transport.abort()
