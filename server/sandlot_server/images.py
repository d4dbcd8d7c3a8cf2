"""Which of the images made here are still of use; the others are removed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sandlot_server.builds.layers import LayerCache
from sandlot_server.registry import Registry
from sandlot_server.runtime.base import Runtime
from sandlot_server.templates import Catalogue

log = logging.getLogger(__name__)


class Images:
    """Images of templates, snapshots, sandboxes and build steps, each by the id that it was made under."""

    def __init__(self, *, runtime: Runtime, catalogue: Catalogue, registry: Registry, layers: LayerCache) -> None:
        self._runtime = runtime
        self._catalogue = catalogue
        self._registry = registry
        self._layers = layers
        self._held: set[str] = set()

    @contextmanager
    def hold(self, build_id: str) -> Iterator[None]:
        """Keep the image with this id for the length of a block, whether or not anything uses it yet."""
        self._held.add(build_id)
        try:
            yield
        finally:
            self._held.discard(build_id)

    async def collect(self) -> None:
        """Remove images that belong to no template, no sandbox and no layer; raises EngineError."""
        for build_id in await self._runtime.list_images():
            # Looked up each time: what was of no use when the list was made may be of use by now.
            if not self._is_of_use(build_id):
                log.info("the image of build %s is of no use any more and is removed", build_id)
                await self._runtime.remove_image(build_id)

    def _is_of_use(self, build_id: str) -> bool:
        return (
            build_id in self._held
            or self._layers.holds(build_id)
            or self._catalogue.find_build(build_id) is not None
            or any(entry.sandbox.spec.build_id == build_id for entry in self._registry)
        )
