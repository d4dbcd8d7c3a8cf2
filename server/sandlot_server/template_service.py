"""What can be done with templates that exist: tag, publish, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sandlot_server.builds.service import Builds
from sandlot_server.errors import Forbidden, InvalidRequest, NotFound
from sandlot_server.images import Images
from sandlot_server.models import DEFAULT_TAG, SandboxState, now
from sandlot_server.names import parse_own_name, parse_reference
from sandlot_server.pool import Pool
from sandlot_server.registry import Registry
from sandlot_server.templates import Catalogue, is_built_in


class TemplateService:
    """Changes templates without building anything."""

    def __init__(self, *, catalogue: Catalogue, registry: Registry, builds: Builds, images: Images, pool: Pool) -> None:
        self._catalogue = catalogue
        self._registry = registry
        self._builds = builds
        self._images = images
        self._pool = pool

    async def assign(self, target: str, tags: Sequence[str], team: str) -> str:
        """Give what a team's template is under one tag other tags as well; return the build's id.

        Raises InvalidRequest (format), NotFound, Forbidden for a built-in template and another team's.
        """
        parse_own_name(target, team)
        name, tag = parse_reference(target)
        template_id = self._catalogue.find_id(name, team)
        if is_built_in(template_id) or (template_id and not self._catalogue.is_of(template_id, team)):
            raise Forbidden(f"You don't have access to sandbox template '{name}'")
        template = self._catalogue.find(template_id, tag or DEFAULT_TAG) if template_id else None
        if template is None:
            raise NotFound(f"Template '{target}' with tag '{tag or DEFAULT_TAG}' not found")
        for one in tags:
            await self._catalogue.save(replace(template, tag=one, created_at=now()))
        await self._settle()
        return template.build_id

    async def remove(self, template_id: str, tags: Sequence[str]) -> None:
        """Take tags from a template; those that it does not have are no mistake."""
        for tag in tags:
            await self._catalogue.untag(template_id, tag)
        await self._settle()

    async def publish(self, template_id: str, *, public: bool) -> None:
        """Say whether other teams may use a template."""
        for template in self._catalogue.list_of(template_id):
            await self._catalogue.save(replace(template, public=public))

    async def delete(self, reference: str, team: str) -> None:
        """Remove a team's template, a snapshot for one, with its builds; images go when nothing uses them any more.

        Raises NotFound, Forbidden, InvalidRequest when it is built in or sandboxes run on it.
        """
        name, _ = parse_reference(reference)
        template_id = self._catalogue.find_id(name, team) or name
        if is_built_in(template_id):
            raise InvalidRequest("the base template is built in and cannot be deleted")
        if not self._builds.has_template(template_id):
            raise NotFound(f"template '{name}' not found")
        if not self._builds.is_of(template_id, team):
            raise Forbidden(f"You don't have access to template '{name}'")
        if (state := self._find_use(template_id)) is not None:
            raise InvalidRequest(f"cannot delete template '{template_id}' because there are {state} sandboxes using it")
        await self._builds.delete_of(template_id)
        await self._catalogue.delete(template_id)
        await self._settle()

    def _find_use(self, template_id: str) -> str | None:
        """What sandboxes of the template do, or None when there are none."""
        states = {
            entry.state
            for entry in self._registry
            if entry.sandbox.spec.template_id == template_id and entry.state is not SandboxState.KILLING
        }
        if not states:
            return None
        return "paused" if states == {SandboxState.PAUSED} else "running"

    async def _settle(self) -> None:
        """Let go of builds that have lost their last tag."""
        self._pool.retire()
        await self._images.collect()
