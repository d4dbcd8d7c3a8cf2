"""Lookups on behalf of sandboxes, at resolvers outside."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype

RESOLV_CONF = Path("/etc/resolv.conf")
TRY_S = 2.5


class LookupFailed(Exception):
    """No resolver answered."""


class Upstream:
    """The resolvers that the settings name, else the host's own, wherever those are."""

    def __init__(self, servers: Sequence[IPv4Address]) -> None:
        self._servers = [str(server) for server in servers]

    async def ask(self, query: dns.message.Message, servers: Sequence[IPv4Address] = ()) -> dns.message.Message:
        """Ask one resolver after the other, given ones in place of ours; raises LookupFailed when none answers."""
        for server in [str(one) for one in servers] or self._servers or read_host_servers():
            try:
                answer, _ = await dns.asyncquery.udp_with_fallback(query, server, timeout=TRY_S)
            except (dns.exception.DNSException, OSError):
                continue
            return answer
        raise LookupFailed

    async def find_addresses(self, name: str, servers: Sequence[IPv4Address] = ()) -> list[IPv4Address]:
        """The IPv4 addresses of a name, none when it has none; raises LookupFailed."""
        try:
            query = dns.message.make_query(name, dns.rdatatype.A)
        except (dns.exception.DNSException, ValueError):
            return []  # no name at all
        answer = await self.ask(query, servers)
        try:
            found = answer.resolve_chaining().answer if isinstance(answer, dns.message.QueryMessage) else None
        except dns.exception.DNSException:
            return []
        return [IPv4Address(one.address) for one in found] if found is not None else []


def read_host_servers(path: Path = RESOLV_CONF) -> list[str]:
    """The resolvers of this host as they are now, for they change with the network that it is in."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []
    return [words[1].partition("%")[0] for words in lines if len(words) > 1 and words[0] == "nameserver"]
