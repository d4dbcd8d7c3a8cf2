"""The disk that all sandboxes share: watched, so that nothing new is begun while it is nearly full."""

from __future__ import annotations

import asyncio
import logging

from sandlot_server.errors import DiskFull, SandlotError
from sandlot_server.journal import NO_SANDBOX, Event, Journal
from sandlot_server.registry import Registry
from sandlot_server.runtime.base import Runtime
from sandlot_server.settings import Settings

log = logging.getLogger(__name__)

TICK_S = 1
MIB = 1024 * 1024
NAMED = 3
"""So many of the sandboxes that have written most are named."""


class HostDisk:
    """How much is free, and how much was written since the server began to look."""

    def __init__(self, settings: Settings, *, runtime: Runtime, registry: Registry, journal: Journal) -> None:
        self._settings = settings
        self._runtime = runtime
        self._registry = registry
        self._journal = journal
        self._free: int | None = None
        self._told = False
        self.written = 0
        """Bytes by which free space has shrunk, all shrinking added up: nobody can have written much more."""
        self.is_low = False

    @property
    def is_visible(self) -> bool:
        """Whether anything is known of the disk; of an engine elsewhere nothing is."""
        return self._free is not None

    def check(self) -> None:
        """Raise DiskFull while too little is free."""
        if self.is_low:
            raise DiskFull(self._describe())

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except SandlotError as error:
                log.warning("how much disk is free is not known: %s", error)
            await asyncio.sleep(TICK_S)

    async def look(self) -> None:
        """Read how much is free; tell when that becomes too little, and when it is enough again."""
        free = await self._runtime.read_free_disk()
        if free is None:
            self._tell_blindness()
            return
        if self._free is not None:
            self.written += max(0, self._free - free)
        self._free = free
        low = free < self._settings.min_free_disk_mb * MIB
        if low != self.is_low:
            self.is_low = low
            await self._tell()

    def _tell_blindness(self) -> None:
        if not self._told:
            log.info("the engine's disk cannot be seen from here: SANDLOT_MIN_FREE_DISK_MB has no effect")
        self._told = True

    async def _tell(self) -> None:
        if self.is_low:
            message = f"{self._describe()}{await self._name_largest()}"
            self._journal.record(Event.HOST_DISK_LOW, NO_SANDBOX, message, level="warn", free_mb=str(self._free_mb))
        else:
            message = f"the engine's disk has {self._free_mb} MiB free again"
            self._journal.record(Event.HOST_DISK_ENOUGH, NO_SANDBOX, message, free_mb=str(self._free_mb))

    @property
    def _free_mb(self) -> int:
        return (self._free or 0) // MIB

    def _describe(self) -> str:
        return (
            f"the engine's disk has only {self._free_mb} MiB free: nothing new is started below "
            f"{self._settings.min_free_disk_mb} MiB (SANDLOT_MIN_FREE_DISK_MB)"
        )

    async def _name_largest(self) -> str:
        """Who has written most, as the end of a sentence."""
        ids = {entry.sandbox.container: entry.sandbox.id for entry in self._registry}
        used = await self._runtime.measure_disk(list(ids))
        largest = sorted(used, key=lambda name: -used[name])[:NAMED]
        named = ", ".join(f"{ids[name]} {used[name] // MIB} MiB" for name in largest)
        return f"; most was written by {named}" if named else ""
