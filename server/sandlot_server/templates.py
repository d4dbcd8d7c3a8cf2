"""The templates that sandboxes can be made from, looked up without I/O."""

from __future__ import annotations

import uuid

from sandlot_server.errors import NotFound, TemplateNotFound
from sandlot_server.models import Template
from sandlot_server.names import parse_reference
from sandlot_server.settings import Settings
from sandlot_server.store.base import Store

BASE_ID = "base"
BASE_NAMES = ("base", "e2bdev/base")
BUILD_NAMESPACE = uuid.UUID("6f2c1a52-3b0e-4a53-9b6e-0d6c2f2f8a11")


class Catalogue:
    """All templates, kept in memory and in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_id: dict[str, Template] = {}
        self._by_name: dict[str, Template] = {}

    async def load(self, settings: Settings) -> None:
        """Read the store, and put the base template of the settings in it."""
        for template in await self._store.load_templates():
            self._remember(template)
        base = make_base(settings)
        if self._by_id.get(BASE_ID) != base:
            await self.save(base)

    async def save(self, template: Template) -> None:
        """Add the template, or make this build its current one."""
        await self._store.save_template(template)
        self._remember(template)

    def resolve(self, reference: str) -> Template:
        """Return the template that a reference means; raises InvalidRequest or NotFound."""
        name, tag = parse_reference(reference)
        template = self.find(name)
        if template is None:
            raise TemplateNotFound(name)
        if tag is not None:
            raise NotFound(f"tag '{tag}' does not exist for template '{name}'")
        return template

    def find(self, name: str) -> Template | None:
        """Return the template with this id or name."""
        return self._by_id.get(name) or self._by_name.get(name)

    def _remember(self, template: Template) -> None:
        self._by_name = {name: other for name, other in self._by_name.items() if other.id != template.id}
        self._by_id[template.id] = template
        self._by_name.update(dict.fromkeys(template.names, template))


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
    )
