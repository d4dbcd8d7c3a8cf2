"""The sandboxes that are alive, in memory: what the front door and every request look up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from sandlot_server.identity import Identity
from sandlot_server.models import Sandbox, SandboxSpec, SandboxState
from sandlot_server.proxy.directory import Endpoint
from sandlot_server.runtime.base import Container

REACHABLE = (SandboxState.RUNNING, SandboxState.SNAPSHOTTING)


class Entry:
    """One sandbox that is alive: its row, where its agent listens, and whether an operation is under way."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.container: Container | None = None
        self.endpoint: Endpoint | None = None
        self.settled = asyncio.Event()
        self._show_settled()

    @property
    def state(self) -> SandboxState:
        """What the sandbox does."""
        return self.sandbox.state

    def change(
        self,
        state: SandboxState | None = None,
        *,
        started_at: datetime | None = None,
        end_at: datetime | None = None,
        boot_id: str | None = None,
        filesystem_only: bool | None = None,
        stopped: bool | None = None,
        container: str | None = None,
        spec: SandboxSpec | None = None,
    ) -> Sandbox:
        """Change the row in memory, at once; the caller saves it. Returns the row."""
        wanted: dict[str, Any] = {
            "state": state,
            "started_at": started_at,
            "end_at": end_at,
            "boot_id": boot_id,
            "filesystem_only": filesystem_only,
            "stopped": stopped,
            "container": container,
            "spec": spec,
        }
        self.sandbox = replace(self.sandbox, **{name: value for name, value in wanted.items() if value is not None})
        self._show_settled()
        return self.sandbox

    def _show_settled(self) -> None:
        if self.state.is_settled or self.state is SandboxState.KILLING:
            self.settled.set()
        else:
            self.settled.clear()


class Registry:
    """Entries by sandbox id and by container."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._entries: dict[str, Entry] = {}
        self._listeners: list[Callable[[str], object]] = []

    def on_unreachable(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with the id of each sandbox at the moment in which nobody may talk to it any more."""
        self._listeners.append(listener)

    def add(self, sandbox: Sandbox) -> Entry:
        """Remember a sandbox."""
        entry = self._entries[sandbox.id] = Entry(sandbox)
        return entry

    def remove(self, sandbox_id: str) -> None:
        """Forget a sandbox."""
        self._entries.pop(sandbox_id, None)

    def get(self, sandbox_id: str) -> Entry | None:
        """Return the entry of a sandbox."""
        return self._entries.get(sandbox_id)

    def find_container(self, name: str) -> Entry | None:
        """Return the entry whose sandbox lives in this container."""
        return next((entry for entry in self if entry.sandbox.container == name), None)

    def find_key(self, key: str, team: str) -> Entry | None:
        """Return the team's entry whose create request carried this idempotency key, unless it is being removed."""
        for entry in self:
            idempotency = entry.sandbox.spec.idempotency
            if (
                entry.sandbox.spec.team == team
                and idempotency is not None
                and idempotency.key == key
                and entry.state is not SandboxState.KILLING
            ):
                return entry
        return None

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def count_active(self) -> int:
        """How many sandboxes take up memory and CPU: all but the paused ones and those being removed."""
        return sum(1 for _ in self._list_active())

    def count_by_team(self) -> Counter[str]:
        """The same for each team that has any."""
        return Counter(entry.sandbox.spec.team for entry in self._list_active())

    def count_memory_mb(self) -> int:
        """Memory limits of all those together, in MiB."""
        return sum(entry.sandbox.spec.memory_mb for entry in self._list_active())

    def _list_active(self) -> Iterator[Entry]:
        idle = (SandboxState.PAUSED, SandboxState.KILLING)
        return (entry for entry in self._entries.values() if entry.state not in idle)

    def place(self, entry: Entry, container: Container) -> None:
        """Note where the sandbox's agent listens."""
        sandbox = entry.sandbox
        ingress = sandbox.spec.ingress
        private = ingress is not None and not ingress.allow_public_traffic
        entry.container = container
        entry.endpoint = Endpoint(
            sandbox_id=sandbox.id,
            address=container.address,
            agent_port=container.agent_port,
            control_token=self._identity.control_token(container.name),
            envd_token=self._identity.envd_token(sandbox.id) if sandbox.spec.secure else None,
            traffic_token=self._identity.traffic_token(sandbox.id) if private else None,
            mask_request_host=ingress.mask_request_host if ingress else None,
            https_ports=frozenset(ingress.https_ports) if ingress else frozenset(),
        )

    def displace(self, newcomer: Container) -> None:
        """Nothing else is reached at the address of a container that has just started.

        An engine that was killed gives addresses away before anybody is told that their containers have ended.
        """
        for entry in self:
            known = entry.container
            if known is not None and known.name != newcomer.name and known.place == newcomer.place:
                entry.endpoint = None
                self.cut_off(entry.sandbox.id)

    def find_endpoint(self, sandbox_id: str) -> Endpoint | None:
        """Where the sandbox can be reached now; None when it cannot."""
        entry = self._entries.get(sandbox_id)
        return entry.endpoint if entry is not None and entry.state in REACHABLE else None

    def cut_off(self, sandbox_id: str) -> None:
        """Tell everyone who holds connections to the sandbox to end them."""
        for listener in self._listeners:
            listener(sandbox_id)
