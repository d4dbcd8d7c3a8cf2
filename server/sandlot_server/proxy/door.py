"""The front door: one listener in front of the API and of every sandbox."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Final

from sandlot_server.proxy.client import ClientConnection
from sandlot_server.proxy.dialing import dial_api
from sandlot_server.proxy.directory import Directory
from sandlot_server.proxy.exchange import Exchange
from sandlot_server.proxy.limits import Limits, Stats
from sandlot_server.proxy.plan import Planner
from sandlot_server.proxy.routing import Site
from sandlot_server.proxy.traffic import Traffic
from sandlot_server.proxy.upgrade import Splice
from sandlot_server.proxy.upstream import Lane

API_KEEP_S: Final = 4.0
"""How long an idle connection to the API is kept; the API must keep it longer."""
SWEEP_S: Final = 0.5
_BACKLOG: Final = 1024

AccessLog = Callable[[Exchange], None]


class FrontDoor:
    """Frames, authorises and routes each request, and moves the bytes.

    `api` is the unix socket of the API; `domain` the one under which sandboxes have their hosts; under
    `local_names` routing headers are honoured as under localhost. `access_log` is called after every request.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        api: Path,
        domain: str,
        local_names: frozenset[str] = frozenset(),
        limits: Limits | None = None,
        stats: Stats | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self.directory = directory
        self.planner = Planner(Site(domain.partition(":")[0].lower(), local_names))
        self.limits = limits or Limits()
        self.stats = stats or Stats()
        self.now = 0.0
        """The door's clock in seconds, which moves twice a second."""
        self._access_log = access_log
        buffer_bytes = self.limits.buffer_bytes
        self.api = Lane(lambda: dial_api(api, buffer_bytes), self._clock, is_trusted=True, keep_s=API_KEEP_S)
        self._traffic: dict[str, Traffic] = {}
        self._clients: set[ClientConnection] = set()
        self._splices: set[Splice] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Listen on one address; return the port. With `tls`, clients speak TLS. May be called several times."""
        loop = asyncio.get_running_loop()
        if not self._servers:
            self.now = loop.time()
            self.spawn(self._sweep_for_ever())
        server = await loop.create_server(
            lambda: ClientConnection(self, is_secure=tls is not None),
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else self.limits.handshake_s,
            backlog=_BACKLOG,
        )
        for listener in server.sockets:
            # Connections inherit it: a client whose machine vanished is noticed even on a silent stream.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def start_tls(self, context: ssl.SSLContext, port: int, hosts: Sequence[str] = ("127.0.0.1", "::1")) -> int:
        """Listen with TLS on each of the addresses that this machine has; return the port."""
        for host in hosts:
            if ":" not in host or _has_ipv6(host):
                port = await self.start(host, port, tls=context)
        return port

    def cut(self, sandbox_id: str) -> int:
        """Abort everything in flight to a sandbox that has ended; return how much it was.

        The Directory must have stopped finding it before: clients ask again at once.
        """
        traffic = self._traffic.pop(sandbox_id, None)
        return 0 if traffic is None else traffic.cut()

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        for server in self._servers:
            server.close()
        for client in list(self._clients):
            client.close_at_once()
        for splice in list(self._splices):
            splice.cut()
        for traffic in self._traffic.values():
            traffic.cut()
        self.api.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    # -- for connections and exchanges

    def admit(self, client: ClientConnection) -> bool:
        """Register a new connection; return whether it may stay."""
        self._clients.add(client)
        self.stats.connections += 1
        return len(self._clients) <= self.limits.connections

    def dismiss(self, client: ClientConnection) -> None:
        """Forget a connection that is closed or has switched protocols."""
        if client in self._clients:
            self._clients.remove(client)
            self.stats.connections -= 1

    def begin(self) -> None:
        """Count a request that begins."""
        self.stats.requests += 1
        self.stats.active += 1

    def finish(self, exchange: Exchange) -> None:
        """Count a request that is over."""
        stats = self.stats
        stats.active -= 1
        stats.statuses[exchange.reply.status // 100] += 1
        if self._access_log is not None:
            self._access_log(exchange)

    def traffic_of(self, sandbox_id: str) -> Traffic:
        """Return what runs to a sandbox."""
        traffic = self._traffic.get(sandbox_id)
        if traffic is None:
            traffic = self._traffic[sandbox_id] = Traffic(self._clock, self.limits.buffer_bytes)
        return traffic

    def splice(self, client: asyncio.Transport, upstream: asyncio.Transport, traffic: Traffic | None) -> Splice:
        """Join two connections that have switched protocols."""

        def forget(splice: Splice) -> None:
            self._splices.discard(splice)
            if traffic is not None:
                traffic.active.discard(splice)

        splice = Splice(client, upstream, self.stats, forget, linger_s=self.limits.linger_s)
        self._splices.add(splice)
        if traffic is not None:
            traffic.active.add(splice)
        return splice

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work` in a task that ends with the door."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _clock(self) -> float:
        return self.now

    async def _sweep_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            self.now = loop.time()
            self._sweep()

    def _sweep(self) -> None:
        for client in list(self._clients):
            client.sweep(self.now)
        self.api.sweep()
        for sandbox_id in [key for key, traffic in self._traffic.items() if not traffic.sweep()]:
            del self._traffic[sandbox_id]


def _has_ipv6(host: str) -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
