"""What the front door must not be: a proxy that reads requests as many do, and a service that reads them otherwise.

Attacks are tried on both. That they succeed here shows that they are attacks, and that it is the door's strictness
which stops them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from sandlot_protocol.http import CONTROL_ROUTES
from support.door import Connection, Seen

REFUSAL = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class LenientProxy:
    """Passes requests on as they came, and refuses reserved routes.

    Lines end with CRLF, folded lines belong to the one before, the first Content-Length counts, and a
    Transfer-Encoding beside one does not. With `once` the first request of a connection decides where all go.
    """

    def __init__(self, ports: Mapping[str, int], *, once: bool = False) -> None:
        self._ports = ports
        self._once = once
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstreams: dict[str, asyncio.StreamWriter] = {}
        relays: list[asyncio.Task[None]] = []
        first = ""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path, fields = self._parse(head)
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                if path in CONTROL_ROUTES:
                    writer.write(REFUSAL)
                    continue
                first = first or fields["e2b-sandbox-id"]
                sandbox_id = first if self._once else fields["e2b-sandbox-id"]
                if sandbox_id not in upstreams:
                    answers, upstreams[sandbox_id] = await asyncio.open_connection("127.0.0.1", self._ports[sandbox_id])
                    relays.append(asyncio.create_task(_relay(answers, writer)))
                upstreams[sandbox_id].write(head + body)
        for relay in relays:
            relay.cancel()
        for one in (writer, *upstreams.values()):
            one.close()

    def _parse(self, head: bytes) -> tuple[str, dict[str, str]]:
        first, *lines = head.decode("latin-1").replace("\r\n ", " ").rstrip("\r\n").split("\r\n")
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields.setdefault(name.strip().lower(), value.strip())
        return first.split(" ")[1], fields


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


async def gullible(connection: Connection) -> None:
    """A service for which every LF ends a line, blanks around it mean nothing, and chunks and the last length win."""
    while True:
        line = (await connection.reader.readuntil(b"\n")).decode("latin-1").strip()
        fields: dict[str, str] = {}
        while text := (await connection.reader.readuntil(b"\n")).decode("latin-1").strip():
            name, _, value = text.partition(":")
            fields[name.lower()] = value.strip()
        method, target, _ = line.split(" ")
        connection.service.requests.append(Seen(method, target, list(fields.items()), b"", b""))
        if fields.get("transfer-encoding") == "chunked":
            await connection.read_chunks()
        else:
            await connection.reader.readexactly(int(fields.get("content-length", "0")))
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
