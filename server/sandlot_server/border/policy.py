"""What one sandbox may reach, from the words of a request to something that rules and lookups are made from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Network, collapse_addresses, ip_network

from sandlot_server.errors import InvalidRequest
from sandlot_server.models import Egress

ALL = "0.0.0.0/0"
EVERYTHING = IPv4Network(ALL)
MAX_DNS_SERVERS = 10
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
PATTERN = re.compile(rf"\*|(?:\*\.)?{LABEL}(?:\.{LABEL})*\.?")
MAX_NAME = 253

PRIVATE = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
"""Closed to every sandbox, whatever its policy says, unless the server's settings open a part of them."""


@dataclass(frozen=True)
class Policy:
    """What a sandbox may reach. What is allowed beats what is denied; what is neither may be reached."""

    allowed: tuple[IPv4Network, ...] = ()
    denied: tuple[IPv4Network, ...] = ()
    domains: tuple[str, ...] = ()
    """Names and patterns such as `*.example.com`, reachable by HTTP on port 80 and TLS on port 443."""
    dns_servers: tuple[IPv4Address, ...] = ()
    """Where names are looked up; empty means where the server's settings say."""

    @cached_property
    def is_closed(self) -> bool:
        """Whether nothing may be reached that is not allowed."""
        return EVERYTHING in self.denied

    def admits_name(self, name: str) -> bool:
        """Whether the address of this name may be asked for."""
        # Who may reach every address may as well know them.
        return not self.is_closed or EVERYTHING in self.allowed or self.names_domain(name)

    def names_domain(self, name: str) -> bool:
        """Whether one of the domains is this name's."""
        return any(matches(name, pattern) for pattern in self.domains)


def matches(name: str, pattern: str) -> bool:
    """Whether a host name is what the pattern means: itself, or with `*.` in front any name below it."""
    name, pattern = name.lower().removesuffix("."), pattern.lower().removesuffix(".")
    if not name or name.startswith("."):
        return False
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and len(name) > len(pattern[1:])
    return pattern in ("*", name)


def parse_policy(egress: Egress | None) -> Policy | None:
    """The policy that a request means; None when it restricts nothing. Raises InvalidRequest in E2B's words."""
    if egress is None:
        return None
    denied = list(_parse_denied(egress.deny_out))
    if egress.internet is False:
        denied.append(EVERYTHING)
    allowed, domains = _parse_allowed(egress.allow_out)
    if domains and ALL not in egress.deny_out and egress.internet is not False:
        raise InvalidRequest(
            "When specifying allowed domains in allow out, you must include 'ALL_TRAFFIC' in deny out to block all "
            "other traffic."
        )
    servers = _parse_dns_servers(egress.dns_servers)
    if not denied and not servers:
        return None
    return Policy(tuple(collapse_addresses(allowed)), tuple(collapse_addresses(denied)), domains, servers)


def _parse_denied(entries: Iterable[str]) -> Iterable[IPv4Network]:
    for entry in entries:
        network = _parse_network(entry)
        if network is None or not _is_specified(entry, network):
            raise InvalidRequest(f"invalid denied CIDR {entry}")
        # Nothing is reached over IPv6, so denying a part of it needs no rule.
        if isinstance(network, IPv4Network):
            yield network


def _parse_allowed(entries: Iterable[str]) -> tuple[list[IPv4Network], tuple[str, ...]]:
    allowed: list[IPv4Network] = []
    domains: list[str] = []
    for entry in entries:
        network = _parse_network(entry)
        if network is None:
            domains.append(_check_pattern(entry))
        elif not _is_specified(entry, network):
            raise InvalidRequest(f"invalid allowed address {entry}")
        elif isinstance(network, IPv6Network):
            raise InvalidRequest(f"invalid allowed address {entry}: sandboxes have no IPv6")
        else:
            allowed.append(network)
    return allowed, tuple(domains)


def _check_pattern(entry: str) -> str:
    if not PATTERN.fullmatch(entry) or len(entry) > MAX_NAME:
        raise InvalidRequest(f"invalid allowed domain {entry}")
    return entry


def _parse_network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        return None


def _is_specified(entry: str, network: IPv4Network | IPv6Network) -> bool:
    """E2B takes no range that begins at 0.0.0.0 or `::`, apart from the one that is everything."""
    return entry == ALL or not ip_network(entry.split("/")[0]).network_address.is_unspecified


def _parse_dns_servers(entries: tuple[str, ...]) -> tuple[IPv4Address, ...]:
    if len(entries) > MAX_DNS_SERVERS:
        raise InvalidRequest(f"at most {MAX_DNS_SERVERS} DNS servers can be given")
    try:
        return tuple(IPv4Address(entry) for entry in entries)
    except ValueError as error:
        raise InvalidRequest(f"invalid DNS server: {error}; it must be an IPv4 address") from error
