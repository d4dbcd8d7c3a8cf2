"""Which addresses the server connects to in a sandbox's stead: none that the sandbox itself could not reach."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from sandlot_server.border.policy import PRIVATE


@dataclass(frozen=True)
class Reach:
    """The addresses outside that are open to sandboxes."""

    opened: tuple[IPv4Network, ...] = ()
    """Private ranges that the settings open."""
    sandboxes: IPv4Network | None = None
    """Where the sandboxes are, which stays closed whatever is opened."""

    def is_open(self, address: IPv4Address) -> bool:
        """Whether a sandbox without a policy could reach the address."""
        if self.sandboxes is not None and address in self.sandboxes:
            return False
        return (not _is_in(address, PRIVATE) or _is_in(address, self.opened)) and not is_of_host(address)


def _is_in(address: IPv4Address, networks: Sequence[IPv4Network]) -> bool:
    return any(address in network for network in networks)


def is_of_host(address: IPv4Address) -> bool:
    """Whether the address is one of this machine's: only those can be bound to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
