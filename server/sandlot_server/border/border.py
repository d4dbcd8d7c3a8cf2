"""The border around the sandboxes of one installation: rules in the kernel, a resolver, a passage to domains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from sandlot_server.border.passage import Passage
from sandlot_server.border.policy import Policy
from sandlot_server.border.reach import Reach
from sandlot_server.border.resolver import Resolver
from sandlot_server.border.upstream import Upstream
from sandlot_server.errors import IsolationFailed
from sandlot_server.runtime.firewall import Firewall, Place, Rules
from sandlot_server.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Held:
    """A policy, and the container that it holds for: addresses are given to another one sooner or later."""

    owner: str
    policy: Policy


class Border:
    """Holds every policy, by the address of its sandbox, and makes them hold."""

    def __init__(self, settings: Settings, firewall: Firewall, place: Place) -> None:
        self._firewall = firewall
        self._place = place
        self._opened = settings.open_networks
        self._held: dict[str, _Held] = {}
        self._changing = asyncio.Lock()
        self._ports = (0, 0)
        upstream = Upstream(settings.dns_servers)
        self._resolver = Resolver(upstream, self.find)
        reach = Reach(settings.open_networks, IPv4Network(place.subnet))
        self._passage = Passage(upstream, reach, self.find)

    async def open(self) -> None:
        """Listen, and put rules in place unless those of an earlier server hold, which know more.

        Raises IsolationFailed.
        """
        try:
            self._ports = (
                await self._resolver.open(self._place.gateway),
                await self._passage.open(self._place.gateway),
            )
        except OSError as error:
            raise IsolationFailed(
                f"the server cannot listen on {self._place.gateway}, where the sandboxes' network begins: {error}; "
                "it has to run in the network of the engine's host"
            ) from error
        await asyncio.to_thread(self._firewall.separate)
        if not await asyncio.to_thread(self._firewall.is_installed):
            await self._install()

    async def close(self) -> None:
        """Stop listening; the rules stay."""
        await self._resolver.close()
        await self._passage.close()

    def find(self, address: str) -> Policy | None:
        """The policy of the sandbox with this address."""
        held = self._held.get(address)
        return held.policy if held else None

    async def confine(self, address: str, owner: str, policy: Policy | None) -> None:
        """Let the policy hold for the address, whatever held for it.

        Raises IsolationFailed, and then nothing has changed.
        """
        if self._held.get(address) == (None if policy is None else _Held(owner, policy)):
            return
        async with self._changing:
            held = {key: one for key, one in self._held.items() if key != address and one.owner != owner}
            await self._hold(held if policy is None else {**held, address: _Held(owner, policy)})
        self._passage.review(address)

    async def confine_all(self, policies: Mapping[str, tuple[str, Policy]]) -> None:
        """Let these policies hold, and no others: by address, with their owners. Raises IsolationFailed."""
        async with self._changing:
            await self._hold({address: _Held(owner, policy) for address, (owner, policy) in policies.items()})

    async def release(self, owner: str) -> None:
        """Forget what held for a container that does not run any more; raises IsolationFailed."""
        if not any(one.owner == owner for one in self._held.values()):
            return
        async with self._changing:
            await self._hold({address: one for address, one in self._held.items() if one.owner != owner})

    async def _hold(self, held: dict[str, _Held]) -> None:
        before, self._held = self._held, held
        try:
            await self._install()
        except IsolationFailed:
            self._held = before
            raise

    async def _install(self) -> None:
        dns_port, passage_port = self._ports
        policies = {address: one.policy for address, one in self._held.items()}
        rules = Rules(dns_port, passage_port, self._opened, policies)
        await asyncio.to_thread(self._firewall.install, rules)
