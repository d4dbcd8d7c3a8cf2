"""Templates whose recipes come with Sandlot: known by name, and there once somebody has built their images."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

from sandlot_server.errors import NotFound, TemplateNotFound
from sandlot_server.models import DEFAULT_TAG, Start, Template, now
from sandlot_server.names import parse_reference
from sandlot_server.runtime.base import ImageInfo, Runtime
from sandlot_server.settings import Settings
from sandlot_server.templates import BUILD_NAMESPACE, RECIPES, Catalogue

START_LABEL = "sandlot.start"
READY_LABEL = "sandlot.ready"


class ShippedNotBuilt(NotFound):
    """The template comes with Sandlot, but its image is not on this engine."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"template '{name}' comes with Sandlot but its image is not built yet: run docker/build.sh {RECIPES[name]}"
        )


class Shipped:
    """Finds images of shipped templates on the engine and has the catalogue know them."""

    def __init__(self, settings: Settings, *, runtime: Runtime, catalogue: Catalogue) -> None:
        self._settings = settings
        self._runtime = runtime
        self._catalogue = catalogue
        self._turn = asyncio.Lock()

    async def adopt_all(self) -> None:
        """Take up what is on the engine; raises EngineError."""
        for name in RECIPES:
            await self._adopt(name)

    async def resolve(self, reference: str, team: str) -> Template:
        """What the catalogue resolves; an image built since then is taken up. Raises what it raises."""
        try:
            return self._catalogue.resolve(reference, team)
        except TemplateNotFound:
            name, tag = parse_reference(reference)
            if name not in RECIPES or tag is not None:
                raise
        if not await self._adopt(name):
            raise ShippedNotBuilt(name)
        return self._catalogue.resolve(reference, team)

    async def _adopt(self, name: str) -> bool:
        image = f"sandlot/{RECIPES[name]}:latest"
        async with self._turn:
            found = await self._runtime.describe_image(image)
            if found is None:
                return False
            template = self._describe(name, image, found)
            known = self._catalogue.find(template.id)
            if known is None or replace(known, created_at=template.created_at) != template:
                await self._catalogue.save(template)
        return True

    def _describe(self, name: str, image: str, found: ImageInfo) -> Template:
        """Another image, or another size, is another build."""
        start = Start(found.labels.get(START_LABEL, ""), found.labels.get(READY_LABEL, ""))
        content = f"{found.id} {self._settings.cpu_count} {self._settings.memory_mb}"
        return Template(
            id=name,
            build_id=str(uuid.uuid5(BUILD_NAMESPACE, content)),
            names=(name,),
            image=image,
            cpu_count=self._settings.cpu_count,
            memory_mb=self._settings.memory_mb,
            created_at=now(),
            tag=DEFAULT_TAG,
            start=start if start.command or start.ready else None,
            public=True,
        )
