"""Puts the agent together: routes, guards, the listener, the reaper, and an orderly end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys

from sandlot_envd import files, filesystem, freeze, init, metrics, process, tunnel
from sandlot_envd.auth import check_access_token, guard
from sandlot_envd.connection import Connection
from sandlot_envd.errors import AgentError, Internal, NotFound
from sandlot_envd.http import Request, Response, Routes, answer_error, answer_json
from sandlot_envd.log import Log
from sandlot_envd.process.reaper import Reaper
from sandlot_envd.state import AgentState
from sandlot_protocol.http import DEBUG_SANDBOX_ID, SANDBOX_ID_HEADER

BACKLOG = 1024
GRACE_S = 2.0
"""Seconds that processes have between being asked to end and being killed, when the agent itself is asked to end."""

EXPOSED = (
    "Location, Cache-Control, X-Content-Type-Options, Content-Encoding, "
    "Connect-Content-Encoding, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin"
)


class App:
    """One agent on one port. Everything it starts ends with `close`."""

    def __init__(self, state: AgentState) -> None:
        self.state = state
        self.reaper = Reaper()
        self._connections: set[Connection] = set()
        self._routes = {route: guard(state, route, handler) for route, handler in self._collect().items()}
        self._paths = {path for _, path in self._routes}
        self._server: asyncio.Server | None = None

    def _collect(self) -> Routes:
        state = self.state
        collected: Routes = {}
        for module in (init, freeze, tunnel, files, metrics):
            collected.update(module.routes(state))
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
            self._report(request, error)
            response = answer_error(Internal(f"the agent failed: {type(error).__name__}"))
        if "origin" in request.headers:
            response.headers.setdefault("Access-Control-Allow-Origin", "*")
            response.headers.setdefault("Access-Control-Expose-Headers", EXPOSED)
        return response

    async def _dispatch(self, request: Request) -> Response:
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return _answer_preflight(request)
        wanted = request.headers.get(SANDBOX_ID_HEADER)
        if wanted not in (None, self.state.sandbox_id, DEBUG_SANDBOX_ID):
            # The address was another's: an engine that was killed gives it away before anybody is told.
            return answer_json({"sandboxId": wanted, "message": "The sandbox was not found", "code": 502}, 502)
        handler = self._routes.get((request.method, request.path))
        if handler is None and request.method == "HEAD":
            handler = self._routes.get(("GET", request.path))
        if handler is not None:
            return await handler(request)
        check_access_token(self.state, request.headers)
        if request.path in self._paths:
            return answer_json({"code": 405, "message": f"{request.method} is not for {request.path}"}, 405)
        raise NotFound(f"no such route: {request.path}")

    def _report(self, request: Request, error: Exception) -> None:
        self.state.log.write("handler failed", "error", path=request.path, error=repr(error))

    async def start(self, port: int) -> int:
        """Listen on all addresses, IPv6 too where there is any; returns the port that was bound."""
        self.reaper.start()
        listener = _listen(port)
        port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        loop.set_default_executor(self.state.threads)
        self._server = await loop.create_server(self._connect, sock=listener, backlog=BACKLOG)
        return port

    def _connect(self) -> Connection:
        return Connection(self.handle, self._connections, self._report)

    async def close(self) -> None:
        """Stop listening, cut all connections, and end the processes: asked first, then killed."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.transport.abort()
        await self.reaper.end_all(GRACE_S)
        self.reaper.stop()


def _answer_preflight(request: Request) -> Response:
    """Allow a browser whatever it asks for: the token guards the sandbox, not the page's origin."""
    allowed = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": request.headers["access-control-request-method"],
        "Access-Control-Max-Age": "7200",
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }
    if wanted := request.headers.get("access-control-request-headers"):
        allowed["Access-Control-Allow-Headers"] = wanted
    return Response(204, headers=allowed)


def _listen(port: int) -> socket.socket:
    """Return a bound socket for IPv6 and IPv4, for IPv4 alone where the sandbox has no IPv6."""
    try:
        return _bind(socket.AF_INET6, ("::", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise
    return _bind(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - the sandbox's own addresses


def _bind(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    # By its protocol's number asyncio knows what to switch Nagle's algorithm off for.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


async def run(control_token: str | None, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then end in order."""
    if sys.stdout is not None and not os.isatty(1):
        os.set_blocking(1, False)  # a log that nobody reads must not stop the agent
    log = Log()
    app = App(AgentState(control_token, log))
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    log.write(f"listening on {await app.start(port)}")
    await ended.wait()
    await app.close()
