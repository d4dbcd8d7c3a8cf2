"""What each sandbox has written, held against the limit.

The engine sets no quota, so files are counted, and only when it can matter: free space of the whole disk is read every
second, and a sandbox is looked at once so much was written since the last look that it may have passed its limit.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass

from sandlot_server.errors import SandlotError
from sandlot_server.host_disk import MIB, HostDisk
from sandlot_server.journal import Event, Journal
from sandlot_server.registry import REACHABLE, Entry, Registry
from sandlot_server.runtime.base import Runtime
from sandlot_server.sandboxes import SandboxService
from sandlot_server.settings import Settings

log = logging.getLogger(__name__)

TICK_S = 1
LOOK_S = 60
"""A sandbox is looked at at least so often, also when it cannot have written much."""
BLIND_S = 20
"""The same where the disk itself cannot be seen."""
SHARE = 10
"""Looking takes one part in so many of the time at most."""
GRACE = 16
"""A sandbox that was paused at its limit and goes on may write this part of the limit before it is paused again."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a sandbox has written, and what it may: bytes."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a sandbox had written at some moment."""

    at: float
    used: int
    written: int
    """What all had written since the server's start."""


class DiskLimits:
    """Finds sandboxes that have written too much, and does with them what the settings say."""

    def __init__(
        self,
        settings: Settings,
        *,
        runtime: Runtime,
        registry: Registry,
        service: SandboxService,
        host: HostDisk,
        journal: Journal,
    ) -> None:
        self._limit = None if settings.disk_mb is None else settings.disk_mb * MIB
        self._action = settings.disk_action
        self._runtime = runtime
        self._registry = registry
        self._service = service
        self._host = host
        self._journal = journal
        self._looks: dict[str, Look] = {}
        self._ceilings: dict[str, float] = {}

    def find_usage(self, sandbox_id: str) -> Usage | None:
        """What a sandbox had written when it was last looked at; None when nothing limits it."""
        look = self._looks.get(sandbox_id)
        if look is None or self._limit is None or self._action == "event":
            return None
        return Usage(look.used, self._limit)

    async def run(self) -> None:
        """Look until cancelled."""
        while self._limit is not None:
            began = asyncio.get_running_loop().time()
            try:
                await self.look()
            except SandlotError as error:
                log.warning("what sandboxes have written is not known: %s", error)
            took_s = asyncio.get_running_loop().time() - began
            await asyncio.sleep(max(TICK_S, took_s * (SHARE - 1)))
        await asyncio.Event().wait()

    async def look(self) -> None:
        """Look at every sandbox that may have passed its limit, those first that were not looked at for longest."""
        running = {entry.sandbox.id: entry for entry in self._registry if entry.state in REACHABLE}
        self._forget_all_but({entry.sandbox.id for entry in self._registry})
        moment, written = asyncio.get_running_loop().time(), self._host.written
        due = [entry for entry in running.values() if self._is_due(entry.sandbox.id, moment)]
        if not due:
            return
        due.sort(key=lambda entry: self._find_last(entry.sandbox.id))
        found = await self._runtime.measure_disk([entry.sandbox.container for entry in due])
        for entry in due:
            # One that could not be measured in time waits for its next turn, so that it holds up nobody else.
            used = found.get(entry.sandbox.container, self._find_used(entry.sandbox.id))
            self._looks[entry.sandbox.id] = Look(moment, used, written)
            try:
                await self._hold(entry, used)
            except SandlotError as error:
                log.warning("%s is above its disk limit, and is tried again: %s", entry.sandbox.id, error)

    def _is_due(self, sandbox_id: str, moment: float) -> bool:
        look = self._looks.get(sandbox_id)
        if look is None:
            return True
        may_have = look.used + self._host.written - look.written
        return may_have > self._find_ceiling(sandbox_id) or moment - look.at >= (
            LOOK_S if self._host.is_visible else BLIND_S
        )

    def _find_last(self, sandbox_id: str) -> float:
        look = self._looks.get(sandbox_id)
        return -math.inf if look is None else look.at

    def _find_used(self, sandbox_id: str) -> int:
        look = self._looks.get(sandbox_id)
        return 0 if look is None else look.used

    def _find_ceiling(self, sandbox_id: str) -> float:
        assert self._limit is not None
        return self._ceilings.get(sandbox_id, self._limit)

    async def _hold(self, entry: Entry, used: int) -> None:
        """Act on a sandbox that is above its limit."""
        assert self._limit is not None
        sandbox_id = entry.sandbox.id
        if used <= self._limit:
            self._ceilings.pop(sandbox_id, None)
        elif used > self._find_ceiling(sandbox_id) and entry.state in REACHABLE:
            await self._act(entry, used, self._limit)
            self._ceilings.setdefault(sandbox_id, math.inf if self._action == "event" else used + self._limit / GRACE)

    async def _act(self, entry: Entry, used: int, limit: int) -> None:
        """Raises SandlotError when the sandbox could not be paused or killed: then it is tried again."""
        sandbox_id = entry.sandbox.id
        said = f"has written {used // MIB} MiB, and its limit is {limit // MIB} MiB (SANDLOT_DISK_MB)"
        fields = {"used_mb": str(used // MIB), "limit_mb": str(limit // MIB), "action": self._action}
        if self._action == "pause":
            await self._service.pause(sandbox_id)
            said += ": it is paused"
        self._journal.record(Event.DISK_FULL, sandbox_id, said, level="warn", **fields)
        if self._action == "kill":
            await self._service.kill(sandbox_id, f"disk full: it {said}")

    def _forget_all_but(self, alive: set[str]) -> None:
        for known in (self._looks, self._ceilings):
            for sandbox_id in [one for one in known if one not in alive]:
                del known[sandbox_id]
