"""The resolver of the sandboxes: it asks outside for the names that a sandbox's policy admits, and for no other.

It knows no neighbours. A name that is not admitted is answered at once as one that does not exist: that is what ends a
lookup soonest in every C library. Nothing of such a name leaves the host, so no data can be told by asking for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections import Counter
from collections.abc import Callable

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode

from sandlot_server.border.policy import Policy
from sandlot_server.border.upstream import LookupFailed, Upstream
from sandlot_server.tasks import Tasks

log = logging.getLogger(__name__)

PLAIN_SIZE = 512
"""Longest answer over UDP to who does not say that longer ones are welcome."""
MAX_SIZE = 1232
MAX_AT_ONCE = 64
"""Lookups of one sandbox, and its connections over TCP; further ones fail."""
IDLE_S = 10
PORT_TRIES = 4

FindPolicy = Callable[[str], Policy | None]


class Resolver:
    """Answers on one address, over UDP and TCP."""

    def __init__(self, upstream: Upstream, find_policy: FindPolicy) -> None:
        self._upstream = upstream
        self._find_policy = find_policy
        self._tasks = Tasks()
        self._busy: Counter[str] = Counter()
        self._talking: Counter[str] = Counter()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def open(self, address: str) -> int:
        """Listen on a port of the system's choice, the same for UDP and TCP; returns it. Raises OSError."""
        for _ in range(PORT_TRIES):
            with contextlib.suppress(OSError):
                return await self._listen(address)
        return await self._listen(address)

    async def _listen(self, address: str) -> int:
        """The system chooses a port that is free for UDP; somebody else may have it for TCP."""
        loop = asyncio.get_running_loop()
        udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), (address, 0))
        chosen: int = udp.get_extra_info("sockname")[1]
        try:
            self._tcp = await asyncio.start_server(self._serve, address, chosen)
        except OSError:
            udp.close()
            raise
        self._udp = udp
        return chosen

    async def close(self) -> None:
        """Stop listening, and give up the lookups that are under way."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        await self._tasks.cancel()

    def take(self, packet: bytes, sender: tuple[str, int]) -> None:
        """Answer a datagram in the background."""
        self._tasks.spawn(self._reply(packet, sender), f"lookup of {sender[0]}")

    async def _reply(self, packet: bytes, sender: tuple[str, int]) -> None:
        answer = await self.answer(packet, sender[0])
        if answer is not None and self._udp is not None:
            self._udp.sendto(_shorten(answer, packet), sender)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address: str = writer.get_extra_info("peername")[0]
        if self._talking[address] >= MAX_AT_ONCE:
            writer.transport.abort()
            return
        self._talking[address] += 1
        self._tasks.spawn(self._converse(reader, writer, address), f"lookups of {address} over TCP")

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                    packet = await reader.readexactly(size)
                answer = await self.answer(packet, address)
                if answer is None:
                    return
                wire = answer.to_wire(max_size=65535)
                writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            _leave(self._talking, address)
            writer.close()

    async def answer(self, packet: bytes, address: str) -> dns.message.Message | None:
        """The answer to a query of the sandbox with this address; None when it is no query at all."""
        try:
            query = dns.message.from_wire(packet)
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR:
            return None
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            return _refuse(query, dns.rcode.NOTIMP)
        policy = self._find_policy(address)
        if policy is not None and not policy.admits_name(query.question[0].name.to_text(omit_final_dot=True)):
            return _refuse(query, dns.rcode.NXDOMAIN)
        return await self._ask(query, policy, address)

    async def _ask(self, query: dns.message.Message, policy: Policy | None, address: str) -> dns.message.Message:
        if self._busy[address] >= MAX_AT_ONCE:
            return _refuse(query, dns.rcode.SERVFAIL)
        self._busy[address] += 1
        try:
            answer = await self._upstream.ask(_renew(query), policy.dns_servers if policy else ())
        except LookupFailed:
            return _refuse(query, dns.rcode.SERVFAIL)
        finally:
            _leave(self._busy, address)
        return _fit(answer, query)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._resolver.take(data, addr)


def _leave(counts: Counter[str], address: str) -> None:
    counts[address] -= 1
    if not counts[address]:
        del counts[address]


def _renew(query: dns.message.Message) -> dns.message.Message:
    """The same question in words of our own, so that nothing else of a sandbox's packet leaves the host."""
    asked = query.question[0]
    dnssec = bool(query.ednsflags & dns.flags.DO)
    return dns.message.make_query(asked.name, asked.rdtype, asked.rdclass, use_edns=0, want_dnssec=dnssec)


def _fit(answer: dns.message.Message, query: dns.message.Message) -> dns.message.Message:
    """What was answered to our question, as an answer to the sandbox's."""
    answer.id = query.id
    answer.question = query.question
    answer.use_edns(0 if query.edns >= 0 else False, payload=MAX_SIZE)
    return answer


def _refuse(query: dns.message.Message, code: dns.rcode.Rcode) -> dns.message.Message:
    answer = dns.message.make_response(query, recursion_available=True)
    answer.set_rcode(code)
    return answer


def _shorten(answer: dns.message.Message, query: bytes) -> bytes:
    """The answer as one datagram; one that is cut says so, and who asked comes back over TCP."""
    payload = dns.message.from_wire(query).payload
    size = min(max(payload, PLAIN_SIZE), MAX_SIZE)
    return answer.to_wire(max_size=size, prefer_truncation=True)
