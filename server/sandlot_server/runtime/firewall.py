"""What keeps sandboxes from the host and within their policies: an nftables table of this installation's own.

Docker's `enable_icc=false` keeps neighbours apart but leaves every port of the host open through the gateway, those
that other containers publish included. So whatever comes from the sandboxes' bridge for any address of the host itself
is dropped before it can be translated to a published port, apart from lookups of names, which go to our resolver.
What is to leave the host passes private ranges first and then the sandbox's own policy. These look at every packet,
not at new connections alone, so that a policy that changes holds for what is open already.

The table is always replaced as a whole, in one transaction: there is no moment without rules, or with half of them.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from sandlot_server.border.policy import EVERYTHING, PRIVATE, Policy
from sandlot_server.errors import IsolationFailed

log = logging.getLogger(__name__)

NFT_S = 10

RunInHost = Callable[[list[str]], str]
"""Runs a command with the host's network and the right to change it; returns its output, raises IsolationFailed."""


@dataclass(frozen=True)
class Place:
    """The network of an installation's sandboxes, as the host sees it."""

    bridge: str
    subnet: str
    gateway: str


@dataclass(frozen=True)
class Rules:
    """What the table says beyond what is always the same."""

    dns_port: int
    """Where lookups go, on the gateway."""
    passage_port: int
    """Where connections to names go, on the gateway."""
    opened: tuple[IPv4Network, ...] = ()
    """Private ranges that sandboxes may reach."""
    policies: Mapping[str, Policy] = field(default_factory=dict)
    """By address of the sandbox; one without is bound by what binds all."""


def table_name(installation: str) -> str:
    """The table of an installation."""
    return f"sandlot_{installation}"


def make_rules(installation: str, place: Place, rules: Rules) -> str:
    """The whole table, as one atomic replacement of what was there."""
    table = table_name(installation)
    policies = sorted(rules.policies.items())
    named = [(address, policy) for address, policy in policies if policy.domains]
    return f"""
table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }}
{"".join(_make_policy(address, policy) for address, policy in policies)}
{"".join(_make_detour(address, policy, rules.passage_port) for address, policy in named)}
  chain prerouting {{
    type filter hook prerouting priority mangle; policy accept;
    iifname != "{place.bridge}" accept
    meta nfproto ipv6 drop
    ct state established,related accept
    ip daddr {place.gateway} meta l4proto {{ tcp, udp }} th dport 53 accept
    fib daddr type {{ local, broadcast, multicast, anycast }} drop
  }}
  chain detour {{
    type nat hook prerouting priority dstnat - 1; policy accept;
    iifname != "{place.bridge}" accept
    ip daddr {place.gateway} udp dport 53 redirect to :{rules.dns_port}
    ip daddr {place.gateway} tcp dport 53 redirect to :{rules.dns_port}
    {_choose("detour", named)}
  }}
  chain forward {{
    type filter hook forward priority filter - 1; policy accept;
    iifname != "{place.bridge}" accept
    oifname "{place.bridge}" drop
    {f"ip daddr {_braced(rules.opened)} goto chosen" if rules.opened else ""}
    ip daddr {_braced(PRIVATE)} goto refuse
    goto chosen
  }}
  chain chosen {{
    {_choose("policy", policies)}
  }}
}}
"""


def _choose(kind: str, policies: Iterable[tuple[str, Policy]]) -> str:
    """Send each sandbox that has a policy to its own chain."""
    targets = ", ".join(f"{address} : goto {kind}_{address.replace('.', '_')}" for address, _ in policies)
    return f"ip saddr vmap {{ {targets} }}" if targets else ""


def _make_policy(address: str, policy: Policy) -> str:
    lines = [f"ip daddr {_braced(policy.allowed)} accept"] if policy.allowed else []
    if policy.is_closed:
        lines.append("goto refuse")
    elif policy.denied:
        lines.append(f"ip daddr {_braced(policy.denied)} goto refuse")
    return _make_chain("policy", address, lines)


def _make_detour(address: str, policy: Policy, port: int) -> str:
    """What is allowed by address goes there; everything else that may be meant for a name shows which."""
    lines = [f"ip daddr {_braced(policy.allowed)} accept"] if policy.allowed else []
    return _make_chain("detour", address, [*lines, f"tcp dport {{ 80, 443 }} redirect to :{port}"])


def _make_chain(kind: str, address: str, lines: list[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"  chain {kind}_{address.replace('.', '_')} {{\n{body}  }}\n"


def _braced(networks: Iterable[IPv4Network]) -> str:
    # As one element of a set, everything is an interval that older nft refuses.
    halves = (half for one in networks for half in (one.subnets() if one == EVERYTHING else (one,)))
    return f"{{ {', '.join(str(half) for half in halves)} }}"


def make_bridge_rules(installation: str, subnet: str) -> str:
    """Rules between neighbours, which hold even where bridged packets do not pass the other tables."""
    table = table_name(installation)
    return f"""
table bridge {table} {{}}
delete table bridge {table}
table bridge {table} {{
  chain forward {{
    type filter hook forward priority 0; policy accept;
    ip saddr {subnet} ip daddr {subnet} drop
  }}
}}
"""


class Firewall:
    """Installs and removes the rules, with the host's own `nft` where it serves, else through a container."""

    def __init__(self, installation: str, place: Place, *, run_in_host: RunInHost) -> None:
        self._installation = installation
        self._place = place
        self._run_in_host = run_in_host

    def install(self, rules: Rules) -> None:
        """Put these rules in place of those that were there; raises IsolationFailed, and then the old ones hold."""
        self._load(make_rules(self._installation, self._place, rules))

    def separate(self) -> None:
        """Keep neighbours apart where they meet, on the bridge."""
        try:
            self._load(make_bridge_rules(self._installation, self._place.subnet))
        except IsolationFailed as error:
            log.warning("neighbours are kept apart by the engine alone, the kernel has no bridge tables: %s", error)

    def is_installed(self) -> bool:
        """Whether the rules are in place."""
        try:
            return "prerouting" in self._nft(["list", "table", "inet", table_name(self._installation)])
        except IsolationFailed:
            return False

    def remove(self) -> None:
        """Remove the rules; nothing happens when there are none."""
        table = table_name(self._installation)
        for family in ("inet", "bridge"):
            if table in self._nft(["list", "tables", family]):
                self._nft(["delete", "table", family, table])

    def _load(self, rules: str) -> None:
        # As input there is no limit to their length; a container can only be handed arguments.
        self._run(["-f", "-"], rules, ["nft", rules])

    def _nft(self, arguments: list[str]) -> str:
        return self._run(arguments, "", ["nft", *arguments])

    def _run(self, arguments: list[str], given: str, in_host: list[str]) -> str:
        if self._is_host_ours():
            try:
                return run_nft(arguments, given)
            except IsolationFailed as error:
                log.debug("the host's own nft does not serve: %s", error)
        return self._run_in_host(in_host)

    def _is_host_ours(self) -> bool:
        """Whether this process sees the bridge, that is, lives in the engine's network, and has `nft`."""
        return shutil.which("nft") is not None and Path(f"/sys/class/net/{self._place.bridge}").exists()


def run_nft(arguments: list[str], given: str = "") -> str:
    """Run the host's `nft` with `given` as its input; raises IsolationFailed with what it said."""
    command = ["nft", *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=NFT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise IsolationFailed(f"nft could not be run: {error}") from error
    if done.returncode != 0:
        raise IsolationFailed(f"nft failed: {done.stderr.strip()}")
    return done.stdout
