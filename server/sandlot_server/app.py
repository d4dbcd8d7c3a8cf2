"""The server as one process and one event loop: API on a unix socket, front door on the port."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from sandlot_server.errors import SandlotError
from sandlot_server.identity import find_installation
from sandlot_server.installation import Installation, make_runtime, open_installation
from sandlot_server.logs import set_up_logging
from sandlot_server.proxy.door import FrontDoor
from sandlot_server.runtime.base import Runtime
from sandlot_server.settings import Settings
from sandlot_server.store.base import Store
from sandlot_server.tasks import Tasks

log = logging.getLogger(__name__)

DRAIN_S = 5
"""How long requests to the API may go on once the server is to end."""
START_S = 10


class _ApiServer(uvicorn.Server):
    """uvicorn without its own idea of signals: `serve` below decides when the server ends."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """A running server: its installation and the address it answers on."""

    def __init__(self, installation: Installation, host: str, port: int) -> None:
        self.installation = installation
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        """Base URL of API and sandboxes."""
        return f"http://{self.host}:{self.port}"


async def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT; sandboxes go on running. Raises SandlotError when it cannot start."""
    set_up_logging(settings)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with run_server(settings) as server:
        (settings.home / "url").write_text(f"{server.url}\n")  # where a client without settings looks
        log.info("ready on %s", server.url)
        await ended.wait()
        log.info("ending; sandboxes go on running")


@asynccontextmanager
async def run_server(
    settings: Settings, *, runtime: Runtime | None = None, store: Store | None = None
) -> AsyncIterator[Server]:
    """Have a whole server for the length of a block; tests hand in a runtime and a store."""
    installation = open_installation(settings, runtime=runtime, store=store)
    async with installation.run(), _serve_api(settings, installation.create_app()):
        door = FrontDoor(installation.directory, api=settings.api_socket, domain=settings.domain)
        installation.registry.on_unreachable(door.cut)
        try:
            port = await door.start(settings.host, settings.port)
        except OSError as error:
            raise SandlotError(f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}") from error
        try:
            yield Server(installation, settings.host, port)
        finally:
            await door.close()


@asynccontextmanager
async def _serve_api(settings: Settings, app: FastAPI) -> AsyncIterator[None]:
    settings.api_socket.unlink(missing_ok=True)
    config = uvicorn.Config(
        app,
        uds=str(settings.api_socket),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = _ApiServer(config)
    tasks = Tasks()
    task = tasks.spawn(server.serve(), "API")
    try:
        await _wait_until_started(server, task)
        settings.api_socket.chmod(0o600)
        yield
    finally:
        server.should_exit = True
        await tasks.finish(DRAIN_S * 2)
        settings.api_socket.unlink(missing_ok=True)


async def _wait_until_started(server: _ApiServer, task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(START_S):
        while not server.started:
            if task.done():
                raise SandlotError("the API could not be started; the log says why")
            await asyncio.sleep(0.005)


async def remove_installation(settings: Settings, *, snapshots: bool = False) -> int:
    """Remove all containers, the network and the firewall rules of the installation in `settings.home`.

    Returns how many containers there were. Keys and database stay, and so do snapshots unless they are to go; rows of
    sandboxes that are gone are removed at the next start. Raises EngineError; call it only when no server runs.
    """
    installation = find_installation(settings.home)
    if installation is None:
        return 0
    runtime = make_runtime(settings, installation)
    try:
        return await runtime.destroy(images=snapshots)
    finally:
        await runtime.close()
