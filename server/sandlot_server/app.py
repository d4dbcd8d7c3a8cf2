"""The server as one process and one event loop: API on a unix socket, front door on the port."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from sandlot_server.errors import SandlotError
from sandlot_server.identity import find_installation
from sandlot_server.installation import Installation, make_runtime, open_installation
from sandlot_server.logs import set_up_logging
from sandlot_server.proxy.door import API_KEEP_S, FrontDoor
from sandlot_server.proxy.tls import LocalTls, load_own
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

    def __init__(self, installation: Installation, host: str, port: int, tls_port: int | None = None) -> None:
        self.installation = installation
        self.host = host
        self.port = port
        self.tls_port = tls_port

    @property
    def url(self) -> str:
        """Base URL of API and sandboxes."""
        return f"http://{self.host}:{self.port}"


async def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT; sandboxes go on running. Raises SandlotError when it cannot start."""
    set_up_logging(settings)
    _raise_file_limit()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with run_server(settings) as server:
        log.info("ready on %s", server.url)
        if server.tls_port is not None:
            log.info("domain mode on https://*.%s:%d", settings.domain, server.tls_port)
        await ended.wait()
        log.info("ending; sandboxes go on running")


def _raise_file_limit() -> None:
    """Every request to a sandbox takes two descriptors, and what shells set by default is soon used up."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@asynccontextmanager
async def run_server(
    settings: Settings, *, runtime: Runtime | None = None, store: Store | None = None
) -> AsyncIterator[Server]:
    """Have a whole server for the length of a block; tests hand in a runtime and a store."""
    installation = open_installation(settings, runtime=runtime, store=store)
    async with installation.run(), _serve_api(settings, installation.create_app()):
        door = FrontDoor(
            installation.directory, api=settings.api_socket, domain=settings.domain, stats=installation.door_stats
        )
        installation.registry.on_unreachable(door.cut)
        tasks = Tasks()
        try:
            # The plain port last: who gets an answer there finds everything else in place.
            tls_port = await _start_tls(settings, door, tasks)
            _tell_domain(settings, tls_port)
            server = Server(installation, settings.host, await _start_plain(settings, door), tls_port)
            (settings.home / "url").write_text(f"{server.url}\n")  # where a client without settings looks
            yield server
        finally:
            settings.domain_file.unlink(missing_ok=True)
            await door.close()
            await tasks.cancel()


def _tell_domain(settings: Settings, tls_port: int | None) -> None:
    if tls_port is None:
        settings.domain_file.unlink(missing_ok=True)
    else:
        settings.domain_file.write_text(f"{settings.domain}:{tls_port}\n")


async def _start_plain(settings: Settings, door: FrontDoor) -> int:
    try:
        return await door.start(settings.host, settings.port)
    except OSError as error:
        raise SandlotError(f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}") from error


async def _start_tls(settings: Settings, door: FrontDoor, tasks: Tasks) -> int | None:
    """Open the port of domain mode; returns it, None when it is turned off or taken. Raises SandlotError."""
    if settings.tls_port < 0:
        return None
    try:
        context = await _load_certificates(settings, tasks)
    except (OSError, ValueError) as error:
        raise SandlotError(f"the certificates of domain mode cannot be used: {error}") from error
    try:
        return await door.start_tls(context, settings.tls_port)
    except OSError as error:
        # The plain port does all that most people need; a second server beside this one must not fail for it.
        log.warning("domain mode is off: port %d cannot be listened on: %s", settings.tls_port, error.strerror)
        return None


async def _load_certificates(settings: Settings, tasks: Tasks) -> ssl.SSLContext:
    if settings.tls_certificate is not None and settings.tls_key is not None:
        return await asyncio.to_thread(load_own, settings.tls_certificate, settings.tls_key)
    if settings.tls_certificate is not None or settings.tls_key is not None:
        raise ValueError("SANDLOT_TLS_CERTIFICATE and SANDLOT_TLS_KEY go together")
    tls = await asyncio.to_thread(LocalTls, settings.tls_folder, settings.domain)
    tasks.supervise(tls.keep_fresh, "renewing certificates")
    return tls.context


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
        # The door gives idle connections up first: a request never meets one that is just closing.
        timeout_keep_alive=int(API_KEEP_S) * 2,
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


async def remove_installation(settings: Settings, *, everything: bool = False) -> int:
    """Remove all containers, the network and the firewall rules of the installation in `settings.home`.

    Returns how many containers there were. Rows of sandboxes that are gone are removed at the next start. With
    `everything` snapshots, built templates and the database go too; keys and certificates stay. Raises EngineError;
    call it only when no server runs.
    """
    installation = find_installation(settings.home)
    if installation is None:
        return 0
    runtime = make_runtime(settings, installation)
    try:
        removed = await runtime.destroy(images=everything)
    finally:
        await runtime.close()
    if everything:
        _remove_database(settings)
    return removed


def _remove_database(settings: Settings) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{settings.database}{suffix}").unlink(missing_ok=True)
