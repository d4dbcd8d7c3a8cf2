"""The passage to domains: what a sandbox sends to port 80 or 443 comes here and shows which host it is meant for.

The server looks that name up itself and connects to what it finds, whatever address the sandbox had asked for. So the
name and the address belong together: a false name, or one that suddenly means an address inside, leads nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from sandlot_server.border.client_hello import NoHost, find_host
from sandlot_server.border.policy import Policy
from sandlot_server.border.reach import Reach
from sandlot_server.border.upstream import LookupFailed, Upstream
from sandlot_server.tasks import Tasks

log = logging.getLogger(__name__)

HEAD_S = 10
CONNECT_S = 10
CHUNK = 64 * 1024
MAX_AT_ONCE = 256
"""Connections of one sandbox."""
SO_ORIGINAL_DST = 80

FindPolicy = Callable[[str], Policy | None]


class Refused(Exception):
    """The connection may not be made."""


@dataclass(eq=False)
class _Crossing:
    """One connection of a sandbox through the passage."""

    address: str
    task: asyncio.Task[None]
    host: str = ""


class Passage:
    """Accepts what the firewall sends it, on one address."""

    def __init__(self, upstream: Upstream, reach: Reach, find_policy: FindPolicy) -> None:
        self._upstream = upstream
        self._reach = reach
        self._find_policy = find_policy
        self._tasks = Tasks()
        self._crossings: set[_Crossing] = set()
        self._server: asyncio.Server | None = None

    async def open(self, address: str) -> int:
        """Listen on a port of the system's choice; returns it. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, address, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._server is not None:
            self._server.close()
        await self._tasks.cancel()

    def review(self, address: str) -> None:
        """End what the sandbox with this address has open to names that its policy does not allow any more."""
        policy = self._find_policy(address)
        for crossing in self._crossings:
            if crossing.address == address and (policy is None or not policy.names_domain(crossing.host)):
                crossing.task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address: str = writer.get_extra_info("peername")[0]
        if sum(crossing.address == address for crossing in self._crossings) >= MAX_AT_ONCE:
            writer.transport.abort()
            return
        started: asyncio.Future[_Crossing] = asyncio.get_running_loop().create_future()
        task = self._tasks.spawn(self._cross(started, reader, writer), f"passage of {address}")
        crossing = _Crossing(address, task)
        self._crossings.add(crossing)
        task.add_done_callback(lambda _: self._crossings.discard(crossing))
        started.set_result(crossing)

    async def _cross(
        self, started: asyncio.Future[_Crossing], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        crossing = await started
        try:
            port = read_destination(writer.get_extra_info("socket"))
            async with asyncio.timeout(HEAD_S):
                crossing.host, head = await read_host(reader, port)
            far_reader, far_writer = await self._connect(crossing, port)
        except (Refused, NoHost, LookupFailed, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.info("%s may not pass to %s: %s", crossing.address, crossing.host or "an unnamed host", error)
            writer.transport.abort()
            return
        except BaseException:
            writer.transport.abort()
            raise
        await _join(reader, writer, far_reader, far_writer, head)

    async def _connect(self, crossing: _Crossing, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first address of the host that answers and that a sandbox may reach."""
        policy = self._find_policy(crossing.address)
        if policy is None or not policy.names_domain(crossing.host):
            raise Refused("the policy does not allow this name")
        refused: Exception = Refused("the name has no address that a sandbox may reach")
        for found in await self._upstream.find_addresses(crossing.host, policy.dns_servers):
            if not self._reach.is_open(found):
                continue
            try:
                async with asyncio.timeout(CONNECT_S):
                    return await asyncio.open_connection(str(found), port)
            except (OSError, TimeoutError) as error:
                refused = error
        raise refused


def read_destination(connection: socket.socket) -> int:
    """The port that a connection was meant for before the firewall sent it here; raises OSError."""
    port, *_ = struct.unpack_from("!2xH4s", connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
    return int(port)


async def read_host(reader: asyncio.StreamReader, port: int) -> tuple[str, bytes]:
    """Read until the host is known; return it and all that was read. Raises NoHost, OSError."""
    head = b""
    while True:
        more = await reader.read(CHUNK)
        if not more:
            raise NoHost("it ended before it named a host")
        head += more
        host = find_host(head, port)
        if host is not None:
            return host, head


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
    head: bytes,
) -> None:
    """Move bytes both ways until both ends have said all; one that breaks ends the other."""
    try:
        far_writer.write(head)
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(reader, far_writer))
            both.create_task(_pump(far_reader, writer))
        for end in (writer, far_writer):
            end.close()
    except* OSError as errors:
        log.debug("a passage broke: %s", errors.exceptions[0])
    finally:
        for end in (writer, far_writer):
            if not end.is_closing():
                end.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(CHUNK):
        sink.write(chunk)
        await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()
