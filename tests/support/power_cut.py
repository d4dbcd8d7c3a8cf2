"""A world whose server can be cut off in the middle of anything: the shipped runtime and store, with a switch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sandlot_server.installation import Installation, open_installation
from sandlot_server.runtime.base import Status
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings
from sandlot_server.store.memory import MemoryStore


class PowerCut(Exception):
    """The server ends here, without a chance to clean up."""


class Engine(MemoryRuntime):
    """A runtime whose server may be cut off at a chosen operation, from when on nothing reaches it any more."""

    def __init__(self) -> None:
        super().__init__(before=self._guard)
        self.cut_at: str | None = None
        self.is_cut = False
        self.hook: Callable[[str, str], None] = lambda operation, name: None

    def _guard(self, operation: str, name: str) -> None:
        self.hook(operation, name)
        self.is_cut = self.is_cut or operation == self.cut_at
        if self.is_cut:
            raise PowerCut


class CutStore(MemoryStore):
    """A store that forgets nothing and takes nothing once its server was cut off."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self.saves_left: int | None = None

    async def save_sandbox(self, sandbox: object) -> None:
        if self.saves_left is not None:
            self.saves_left -= 1
            self._engine.is_cut = self._engine.is_cut or self.saves_left < 0
        if self._engine.is_cut:
            raise PowerCut
        await super().save_sandbox(sandbox)  # type: ignore[arg-type]

    async def delete_sandbox(self, sandbox_id: str) -> None:
        if self._engine.is_cut:
            raise PowerCut
        await super().delete_sandbox(sandbox_id)


class World:
    """What outlives a server: engine, store and home; and the server of the moment."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, runtime="memory", pool_size=0)
        self.engine = Engine()
        self.store = CutStore(self.engine)

    def open(self) -> Installation:
        self.engine.cut_at, self.engine.is_cut, self.store.saves_left = None, False, None
        return open_installation(self.settings, runtime=self.engine, store=self.store)

    async def containers(self) -> dict[str, Status]:
        return {info.name: info.status for info in await self.engine.list_containers()}
