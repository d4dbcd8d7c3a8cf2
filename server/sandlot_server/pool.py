"""Containers that wait, started and healthy, so that creating a sandbox needs no engine call.

A waiting container has no row: it is known by its labels, so that the next server finds it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sandlot_server.containers import Containers
from sandlot_server.errors import SandlotError
from sandlot_server.models import Template
from sandlot_server.runtime.base import Container
from sandlot_server.settings import Settings
from sandlot_server.templates import BASE_ID, Catalogue

log = logging.getLogger(__name__)

WANTED_S = 900
"""As many containers of a template wait as were asked for in this many seconds; of the base template always all."""
BACKOFF_S = 5
LOOK_S = 60


class Line:
    """The containers of one build that wait, and the moments in which one was asked for."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.waiting: deque[Container] = deque()
        self.coming = 0
        self.taken = 0
        self.missed = 0
        self.uses: deque[float] = deque()

    def count_uses(self) -> int:
        """How often one was asked for lately."""
        oldest = asyncio.get_running_loop().time() - WANTED_S
        while self.uses and self.uses[0] < oldest:
            self.uses.popleft()
        return len(self.uses)


@dataclass(frozen=True, slots=True)
class Level:
    """How many containers of a template wait, of how many that are wanted, and how often none did."""

    template_id: str
    waiting: int
    wanted: int
    taken: int
    missed: int


class Pool:
    """Idle containers by build, refilled by some workers as long as anything is missing."""

    def __init__(
        self,
        settings: Settings,
        *,
        containers: Containers,
        catalogue: Catalogue,
        remove: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._containers = containers
        self._catalogue = catalogue
        self._remove = remove
        self._lines: dict[str, Line] = {}
        self._changed = asyncio.Event()

    def take(self, template: Template) -> Container | None:
        """Hand out a waiting container of the template, or None; it is the caller's from now on."""
        line = self._note_use(template)
        self._changed.set()
        if not line.waiting:
            line.missed += 1
            return None
        line.taken += 1
        return line.waiting.popleft()

    def expect(self, template: Template) -> None:
        """Have one container of a template wait, before anybody has asked for one."""
        self._note_use(template)
        self._changed.set()

    def adopt(self, template: Template, container: Container) -> bool:
        """Take a container of an earlier server, when there is room for it."""
        line = self._note_use(template)
        if not self._has_room(line):
            return False
        line.waiting.append(container)
        return True

    def list_waiting(self) -> list[Container]:
        """All containers that wait."""
        return [container for line in self._lines.values() for container in line.waiting]

    def holds(self, name: str) -> bool:
        """Whether this container waits here."""
        return any(container.name == name for container in self.list_waiting())

    def count(self) -> int:
        """How many containers wait."""
        return len(self.list_waiting())

    def list_levels(self) -> list[Level]:
        """How full the pool is and has been since the server's start, a line for each template that it knows."""
        return [
            Level(line.template.id, len(line.waiting), self._count_wanted(line), line.taken, line.missed)
            for line in self._lines.values()
        ]

    def forget(self, name: str) -> None:
        """A waiting container has ended: do not hand it out, and replace it."""
        for line in self._lines.values():
            for container in [one for one in line.waiting if one.name == name]:
                log.warning("waiting container %s of %s ended", name, line.template.id)
                line.waiting.remove(container)
                self._remove(name)
                self._changed.set()

    def displace(self, newcomer: Container) -> None:
        """What waited at the address of a container that has just started has ended."""
        for container in self.list_waiting():
            if container.place == newcomer.place:
                self.forget(container.name)

    def retire(self) -> None:
        """Remove what waits for builds that are not any template's any more, or that nobody asks for."""
        for build_id, line in list(self._lines.items()):
            gone = self._catalogue.find_build(build_id) is None
            while len(line.waiting) > (0 if gone else self._count_wanted(line)):
                self._remove(line.waiting.popleft().name)
            if gone:
                del self._lines[build_id]
        self._changed.set()

    async def run(self) -> None:
        """Keep the pool full until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._settings.pool_workers or _count_workers()):
                workers.create_task(self._refill())

    async def _refill(self) -> None:
        while True:
            self.retire()
            self._changed.clear()
            line = self._find_missing()
            if line is None:
                await self._wait()
            elif not await self._add(line):
                await asyncio.sleep(BACKOFF_S)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _add(self, line: Line) -> bool:
        name = self._containers.new_name()
        line.coming += 1
        try:
            container = await self._containers.provision(name, line.template)
        except SandlotError as error:
            log.warning("no container of %s could be made ready: %s", line.template.id, error)
            self._remove(name)
            return False
        except asyncio.CancelledError:
            self._remove(name)
            raise
        finally:
            line.coming -= 1
        if self._lines.get(line.template.build_id) is not line:  # retired meanwhile
            self._remove(name)
            return True
        self._drop_others(line, container)
        line.waiting.append(container)
        return True

    def _drop_others(self, line: Line, newest: Container) -> None:
        """Remove what waits with another content of the image than a new container gets."""
        for container in [one for one in line.waiting if one.image_id != newest.image_id]:
            log.info("the image of %s has changed: container %s is replaced", line.template.id, container.name)
            line.waiting.remove(container)
            self._remove(container.name)

    def _note_use(self, template: Template) -> Line:
        line = self._lines.setdefault(template.build_id, Line(template))
        line.uses.append(asyncio.get_running_loop().time())
        return line

    def _find_missing(self) -> Line | None:
        return next((line for line in self._list_wanted() if self._has_room(line)), None)

    def _list_wanted(self) -> Iterator[Line]:
        """What is worth waiting for, the most recently used first, the base template also unused."""
        yield from sorted((line for line in self._lines.values() if line.uses), key=lambda line: -line.uses[-1])
        base = self._catalogue.find(BASE_ID)
        if base is not None:
            yield self._lines.setdefault(base.build_id, Line(base))

    def _count_wanted(self, line: Line) -> int:
        if line.template.id == BASE_ID:
            return self._settings.pool_size
        return min(line.count_uses(), self._settings.pool_size)

    def _has_room(self, line: Line) -> bool:
        used_mb = sum(other.template.memory_mb * (len(other.waiting) + other.coming) for other in self._lines.values())
        fits = used_mb + line.template.memory_mb <= self._settings.pool_memory_mb
        return fits and len(line.waiting) + line.coming < self._count_wanted(line)


def _count_workers() -> int:
    """A container that starts keeps more than one core busy; requests are to find one free."""
    return max(1, (os.cpu_count() or 1) // 2)
