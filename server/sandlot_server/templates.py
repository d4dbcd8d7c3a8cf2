"""The templates that sandboxes can be made from, looked up without I/O."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

from sandlot_server.errors import Forbidden, NotFound, TemplateNotFound
from sandlot_server.models import DEFAULT_TAG, DEFAULT_TEAM, Template, Uses, now
from sandlot_server.names import parse_reference, qualify
from sandlot_server.settings import Settings
from sandlot_server.store.base import Store

BASE_ID = "base"
RECIPES = {name: name for name in ("desktop", "httpbin", "mcp-gateway")} | {"code-interpreter-v1": "code-interpreter"}
"""Templates that come with Sandlot, whose ids are their names, and the folders of docker/ with their recipes."""
BASE_NAMES = ("base", "e2bdev/base")
BUILD_NAMESPACE = uuid.UUID("6f2c1a52-3b0e-4a53-9b6e-0d6c2f2f8a11")


class Catalogue:
    """All templates, kept in memory and in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tags: dict[str, dict[str, Template]] = {}
        self._names: dict[str, str] = {}
        self._uses: dict[str, Uses] = {}
        self._unsaved_uses: set[str] = set()

    async def load(self, settings: Settings) -> None:
        """Read the store, and put the base template of the settings in it."""
        for template in await self._store.load_templates():
            self._remember(template)
        self._uses = await self._store.load_uses()
        base = make_base(settings)
        known = self.find(BASE_ID)
        if known is None or replace(known, created_at=base.created_at) != base:
            await self.save(base)

    async def save(self, template: Template) -> None:
        """Add the template, or make this build the one of its tag."""
        await self._store.save_template(template)
        self._remember(template)

    async def delete(self, template_id: str) -> None:
        """Forget the template with all its tags."""
        await self._store.delete_template(template_id)
        self._tags.pop(template_id, None)
        self._names = {name: known for name, known in self._names.items() if known != template_id}

    def resolve(self, reference: str, team: str) -> Template:
        """Return the template that a reference means to a team; raises InvalidRequest, NotFound or Forbidden."""
        name, tag = parse_reference(reference)
        template_id = self.find_id(name, team)
        if template_id is None:
            raise TemplateNotFound(name)
        if not self.is_open_to(template_id, team):
            raise Forbidden(f"you don't have access to template '{name}'")
        template = self._tags[template_id].get(tag or DEFAULT_TAG)
        if template is None:
            raise NotFound(f"tag '{tag or DEFAULT_TAG}' does not exist for template '{name}'")
        return template

    def find_id(self, name: str, team: str) -> str | None:
        """Return the id of the template that an id or a name means to a team, which need not have access to it.

        A name without a namespace is the team's own, or that of a built-in template.
        """
        if name in self._tags:
            return name
        if "/" in name:
            return self._names.get(name) or self._names.get(name.removeprefix(f"{DEFAULT_TEAM}/"))
        return self._names.get(qualify(name, team)) or (BASE_ID if name in BASE_NAMES else None)

    def is_open_to(self, template_id: str, team: str) -> bool:
        """Whether sandboxes of this team may be made from a template."""
        return self.is_of(template_id, team) or any(one.public for one in self.list_of(template_id))

    def is_of(self, template_id: str, team: str) -> bool:
        """Whether a template is a team's own, or everybody's since it is built in."""
        return is_built_in(template_id) or any(one.team == team for one in self.list_of(template_id))

    def find(self, template_id: str, tag: str = DEFAULT_TAG) -> Template | None:
        """Return what a template is under a tag."""
        return self._tags.get(template_id, {}).get(tag)

    def find_build(self, build_id: str) -> Template | None:
        """Return the template that has this build under one of its tags."""
        return next((template for template in self.list_tags() if template.build_id == build_id), None)

    def note_use(self, template_id: str) -> None:
        """Count a sandbox that was made from a template; kept in the store by `save_uses`, not before."""
        self._uses[template_id] = Uses(self.find_uses(template_id).count + 1, now())
        self._unsaved_uses.add(template_id)

    def find_uses(self, template_id: str) -> Uses:
        """Return how much a template was used."""
        return self._uses.get(template_id, Uses())

    async def save_uses(self) -> None:
        """Have the store know what was counted since the last time."""
        unsaved, self._unsaved_uses = self._unsaved_uses, set()
        if unsaved:
            await self._store.save_uses({template_id: self.find_uses(template_id) for template_id in unsaved})

    def is_template(self, template_id: str) -> bool:
        """Whether there is a template with this id."""
        return template_id in self._tags

    def list_of(self, template_id: str) -> list[Template]:
        """Return what a template is under each of its tags."""
        return list(self._tags.get(template_id, {}).values())

    async def untag(self, template_id: str, tag: str) -> None:
        """Take a tag from a template; nothing happens when it has none of this name."""
        await self._store.delete_tag(template_id, tag)
        self._tags.get(template_id, {}).pop(tag, None)

    def list_tags(self) -> Iterator[Template]:
        """Yield every template, once for each of its tags."""
        for tags in list(self._tags.values()):
            yield from list(tags.values())

    def _remember(self, template: Template) -> None:
        """Names are the template's, not the tag's: those of the newest build hold for all its tags."""
        tags = {**self._tags.get(template.id, {}), template.tag: template}
        self._tags[template.id] = {
            tag: replace(known, names=template.names, public=template.public) for tag, known in tags.items()
        }
        self._names = {name: known for name, known in self._names.items() if known != template.id}
        self._names.update(dict.fromkeys(template.names, template.id))


def is_built_in(template_id: str | None) -> bool:
    """Whether a template is Sandlot's own: everybody's to use, and nobody's to change."""
    return template_id == BASE_ID or template_id in RECIPES


def make_base(settings: Settings) -> Template:
    """The base template as the settings have it; another image or size is another build."""
    content = f"{settings.base_image} {settings.cpu_count} {settings.memory_mb}"
    return Template(
        id=BASE_ID,
        build_id=str(uuid.uuid5(BUILD_NAMESPACE, content)),
        names=BASE_NAMES,
        image=settings.base_image,
        cpu_count=settings.cpu_count,
        memory_mb=settings.memory_mb,
        created_at=now(),
    )
