"""What keeps sandboxes from the host: an nftables table of this installation's own.

Docker's `enable_icc=false` keeps neighbours apart but leaves every port of the host open through the gateway, those
that other containers publish included. So whatever new comes from the sandboxes' bridge for any address of the host
itself is dropped, before it can be translated to a published port. Answers to the host's own connections pass.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from sandlot_server.errors import IsolationFailed

log = logging.getLogger(__name__)

NFT_S = 10

RunInHost = Callable[[list[str]], str]
"""Runs a command with the host's network and the right to change it; returns its output, raises IsolationFailed."""


def table_name(installation: str) -> str:
    """The table of an installation."""
    return f"sandlot_{installation}"


def make_rules(installation: str, bridge: str) -> str:
    """Rules between sandboxes and host, as one atomic replacement of what was there."""
    table = table_name(installation)
    return f"""
table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  chain prerouting {{
    type filter hook prerouting priority mangle; policy accept;
    iifname != "{bridge}" accept
    ct state established,related accept
    fib daddr type {{ local, broadcast, multicast, anycast }} drop
  }}
  chain forward {{
    type filter hook forward priority filter - 1; policy accept;
    iifname "{bridge}" oifname "{bridge}" drop
  }}
}}
"""


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

    def __init__(self, installation: str, *, bridge: str, subnet: str, run_in_host: RunInHost) -> None:
        self._installation = installation
        self._bridge = bridge
        self._subnet = subnet
        self._run_in_host = run_in_host

    def install(self) -> None:
        """Put the rules in place, whatever was there; raises IsolationFailed when they cannot be."""
        self._nft([make_rules(self._installation, self._bridge)])
        try:
            self._nft([make_bridge_rules(self._installation, self._subnet)])
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

    def _nft(self, arguments: list[str]) -> str:
        """Run `nft`, which takes rules as an argument just as it takes commands."""
        if self._is_host_ours():
            try:
                return run_nft(arguments)
            except IsolationFailed as error:
                log.debug("the host's own nft does not serve: %s", error)
        return self._run_in_host(["nft", *arguments])

    def _is_host_ours(self) -> bool:
        """Whether this process sees the bridge, that is, lives in the engine's network, and has `nft`."""
        return shutil.which("nft") is not None and Path(f"/sys/class/net/{self._bridge}").exists()


def run_nft(arguments: list[str]) -> str:
    """Run the host's `nft`; raises IsolationFailed with what it said."""
    try:
        done = subprocess.run(["nft", *arguments], capture_output=True, text=True, timeout=NFT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise IsolationFailed(f"nft could not be run: {error}") from error
    if done.returncode != 0:
        raise IsolationFailed(f"nft failed: {done.stderr.strip()}")
    return done.stdout
