"""Containers that wait, started and healthy, so that creating a sandbox needs no engine call.

A waiting container has no row: it is known by its labels, so that the next server finds it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterator

from sandlot_server.containers import Containers
from sandlot_server.errors import SandlotError
from sandlot_server.models import Template
from sandlot_server.runtime.base import Container
from sandlot_server.settings import Settings
from sandlot_server.templates import Catalogue

log = logging.getLogger(__name__)

WANTED_S = 900
"""Templates used within this many seconds are kept waiting; the base template always is."""
BACKOFF_S = 5


class Pool:
    """Idle containers by template. One worker refills it, as long as anything is missing."""

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
        self._idle: dict[str, deque[Container]] = defaultdict(deque)
        self._used_at: dict[str, float] = {}
        self._changed = asyncio.Event()

    def take(self, template: Template) -> Container | None:
        """Hand out a waiting container of the template, or None; it is the caller's from now on."""
        self._used_at[template.id] = asyncio.get_running_loop().time()
        self._changed.set()
        waiting = self._idle[template.id]
        return waiting.popleft() if waiting else None

    def adopt(self, template: Template, container: Container) -> bool:
        """Take a container of an earlier server, when there is room for it."""
        if not self._has_room(template):
            return False
        self._idle[template.id].append(container)
        return True

    def holds(self, name: str) -> bool:
        """Whether this container waits here."""
        return any(container.name == name for container in self._all())

    def count(self) -> int:
        """How many containers wait."""
        return sum(1 for _ in self._all())

    def forget(self, name: str) -> None:
        """A waiting container has ended: do not hand it out, and replace it."""
        for template_id, waiting in self._idle.items():
            gone = [container for container in waiting if container.name == name]
            for container in gone:
                log.warning("waiting container %s of %s ended", name, template_id)
                waiting.remove(container)
                self._remove(name)
                self._changed.set()

    def drop(self, template_id: str) -> None:
        """Remove the waiting containers of a template that has changed or is gone."""
        for container in self._idle.pop(template_id, ()):
            self._remove(container.name)
        self._changed.set()

    async def run(self) -> None:
        """Keep the pool full until cancelled."""
        while True:
            self._changed.clear()
            template = self._find_missing()
            if template is None:
                await self._changed.wait()
            elif not await self._add(template):
                await asyncio.sleep(BACKOFF_S)

    async def _add(self, template: Template) -> bool:
        name = self._containers.new_name()
        try:
            container = await self._containers.provision(name, template)
        except SandlotError as error:
            log.warning("no container of %s could be made ready: %s", template.id, error)
            self._remove(name)
            return False
        except asyncio.CancelledError:
            self._remove(name)
            raise
        if self._is_outdated(template):
            self._remove(name)
        else:
            self._drop_others(template, container)
            self._idle[template.id].append(container)
        return True

    def _drop_others(self, template: Template, newest: Container) -> None:
        """Remove what waits with another content of the image than a new container gets."""
        if any(container.image_id != newest.image_id for container in self._idle[template.id]):
            log.info("the image of %s has changed: its waiting containers are replaced", template.id)
            self.drop(template.id)

    def _is_outdated(self, template: Template) -> bool:
        current = self._catalogue.find(template.id)
        return current is None or current.build_id != template.build_id

    def _find_missing(self) -> Template | None:
        return next((template for template in self._list_wanted() if self._has_room(template)), None)

    def _list_wanted(self) -> Iterator[Template]:
        """Templates worth waiting for, the most recently used ones first."""
        oldest = asyncio.get_running_loop().time() - WANTED_S
        for template_id in sorted(self._used_at, key=lambda template_id: -self._used_at[template_id]):
            template = self._catalogue.find(template_id)
            if template is not None and self._used_at[template_id] >= oldest:
                yield template
        base = self._catalogue.find("base")
        if base is not None:
            yield base

    def _has_room(self, template: Template) -> bool:
        enough = len(self._idle[template.id]) >= self._settings.pool_size
        return not enough and self._count_memory() + template.memory_mb <= self._settings.pool_memory_mb

    def _count_memory(self) -> int:
        """Memory limits of all that waits, in MiB."""
        templates = ((self._catalogue.find(key), len(waiting)) for key, waiting in self._idle.items())
        return sum(template.memory_mb * count for template, count in templates if template is not None)

    def _all(self) -> Iterator[Container]:
        return (container for waiting in self._idle.values() for container in waiting)
