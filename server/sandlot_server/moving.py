"""A new container for a sandbox whose own the engine cannot start any more; its files go along."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace

from sandlot_server.containers import Containers
from sandlot_server.errors import SandlotError
from sandlot_server.images import Images
from sandlot_server.models import Template, now
from sandlot_server.registry import Entry
from sandlot_server.removal import Remover
from sandlot_server.runtime.base import Container, Runtime
from sandlot_server.store.base import Store

log = logging.getLogger(__name__)


class Mover:
    """Moves sandboxes that stand still from one container to another.

    Seen with Docker 20.10: killed without `live-restore`, it comes back to containers that have ended and tasks that
    have not, and refuses for ever to start those.
    """

    def __init__(
        self, *, runtime: Runtime, store: Store, containers: Containers, images: Images, remover: Remover
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._containers = containers
        self._images = images
        self._remover = remover

    async def move(self, entry: Entry) -> Container:
        """Return a new container with the sandbox's files, whose agent answers; raises EngineError, AgentError."""
        old, spec, build_id = entry.sandbox.container, entry.sandbox.spec, str(uuid.uuid4())
        with self._images.hold(build_id):
            image = await self._runtime.make_image(await self._runtime.capture(old), build_id)
            container = await self._provision(entry, image, build_id)
            moved = entry.change(container=container.name, spec=replace(spec, build_id=build_id))
            await self._store.save_sandbox(moved)
        log.warning("%s has a new container, since the engine cannot start %s any more", entry.sandbox.id, old)
        self._remover.remove_container(old)
        return container

    async def _provision(self, entry: Entry, image: str, build_id: str) -> Container:
        spec, name = entry.sandbox.spec, self._containers.new_name()
        template = Template(
            id=spec.template_id,
            build_id=build_id,
            names=(),
            image=image,
            cpu_count=spec.cpu_count,
            memory_mb=spec.memory_mb,
            created_at=now(),
        )
        try:
            return await self._containers.provision(name, template)
        except SandlotError:
            self._remover.remove_container(name)
            raise
