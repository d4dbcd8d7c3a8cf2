"""`sandlot debug`: an agent where SDKs with `E2B_DEBUG=true` look for one, on this machine's loopback.

Such SDKs ask nobody for a sandbox and carry no token: whoever is on this machine may use it. The sandbox is an ordinary
one, kept for as long as the command runs, and ends soon after a command that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sandlot_server import control
from sandlot_server.daemon import DaemonError
from sandlot_server.settings import Settings

LEASE_S = 120
"""How long the sandbox outlives a command that did not end by itself."""
RENEW_S = 30
HOSTS = ("127.0.0.1", "::1")
BLOCK = 64 * 1024


async def run(settings: Settings, template: str, port: int, say: Callable[[str], None]) -> None:
    """Have an agent on `port` of loopback until SIGINT or SIGTERM; raises DaemonError."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with _lease(settings, template) as sandbox_id:
        where = await _call(settings, "GET", f"/_sandlot/sandboxes/{sandbox_id}/address")
        async with _forward(port, where["address"], where["port"]):
            say(f"sandbox {sandbox_id} answers on localhost:{port}; Ctrl-C ends it. In another shell:\n")
            say("export E2B_DEBUG=true")
            await _keep(settings, sandbox_id, ended)


@asynccontextmanager
async def _lease(settings: Settings, template: str) -> AsyncIterator[str]:
    wanted = {"templateID": template, "timeout": LEASE_S, "secure": False}
    made = await _call(settings, "POST", "/sandboxes", wanted)
    try:
        yield made["sandboxID"]
    finally:
        with contextlib.suppress(DaemonError):  # it may have ended already
            await _call(settings, "DELETE", f"/sandboxes/{made['sandboxID']}")


async def _keep(settings: Settings, sandbox_id: str, ended: asyncio.Event) -> None:
    """Renew the lease until the end; raises DaemonError when the sandbox is gone."""
    while not ended.is_set():
        await _call(settings, "POST", f"/sandboxes/{sandbox_id}/refreshes", {"duration": LEASE_S})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), RENEW_S)


async def _call(settings: Settings, method: str, path: str, body: object = None) -> Any:
    return await asyncio.to_thread(control.call, settings, method, path, body)


@asynccontextmanager
async def _forward(port: int, address: str, agent_port: int) -> AsyncIterator[None]:
    """Pass every connection on; raises DaemonError when the port is taken."""
    joints: set[asyncio.Task[None]] = set()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        joints.add(task)
        try:
            await _join(reader, writer, address, agent_port)
        finally:
            joints.discard(task)

    servers: list[asyncio.Server] = []
    try:
        for host in HOSTS:
            try:
                servers.append(await asyncio.start_server(join, host, port))
            except OSError as error:
                if servers and error.errno == errno.EADDRNOTAVAIL:
                    continue  # a machine without IPv6
                raise DaemonError(f"{host}:{port} cannot be listened on: {error.strerror}") from error
        yield
    finally:
        for server in servers:
            server.close()
        for task in list(joints):
            task.cancel()
        await asyncio.gather(*joints, return_exceptions=True)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, port: int) -> None:
    """Pass bytes between a client and the agent until either ends; the other is then closed as well."""
    with contextlib.closing(writer), contextlib.suppress(OSError):
        agent_reader, agent_writer = await asyncio.open_connection(address, port)
        with contextlib.closing(agent_writer):
            passing = [
                asyncio.ensure_future(_pass(reader, agent_writer)),
                asyncio.ensure_future(_pass(agent_reader, writer)),
            ]
            try:
                await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in passing:
                    one.cancel()
                await asyncio.gather(*passing, return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(BLOCK):
        writer.write(data)
        await writer.drain()
