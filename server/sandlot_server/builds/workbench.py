"""The container in which the steps of a build run."""

from __future__ import annotations

from sandlot_server.containers import Containers
from sandlot_server.models import Template
from sandlot_server.removal import Remover
from sandlot_server.runtime.base import Role, Runtime
from sandlot_server.shell import Shell


class Workbench:
    """A container, started when first needed, on what the steps before have made; there is never more than one."""

    def __init__(self, *, runtime: Runtime, containers: Containers, remover: Remover) -> None:
        self._runtime = runtime
        self._containers = containers
        self._remover = remover
        self._name: str | None = None
        self._shell: Shell | None = None

    async def open(self, template: Template) -> Shell:
        """Return a shell in the container; raises EngineError, AgentError."""
        if self._shell is None:
            self._name = self._containers.new_name()
            self._shell = await self._containers.open_shell(self._name, template, Role.BUILD)
        return self._shell

    async def keep(self, image_id: str) -> str:
        """Make an image of what is in the container, which ends with that; raises EngineError."""
        assert self._name is not None, "nothing has run"
        await self._runtime.pause(self._name)
        image = await self._runtime.make_image(await self._runtime.capture(self._name), image_id)
        self.close()
        return image

    def close(self) -> None:
        """Remove the container, in the background."""
        if self._name is not None:
            self._remover.remove_container(self._name)
        self._name = self._shell = None
