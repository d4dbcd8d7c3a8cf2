"""What build steps have made, found again by the hash of everything that led to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from sandlot_server.build_models import Layer
from sandlot_server.models import now
from sandlot_server.runtime.base import Runtime
from sandlot_server.store.base import Store

KEPT = timedelta(days=14)
"""A layer that no build has used for this long is removed."""
KEPT_ALONE = timedelta(hours=1)
"""The same for a layer of a template that does not exist, as when its first build has failed."""
PREFIX = "layer-"


def chain(*parts: str) -> str:
    """The key that follows from these parts; no two lists of parts share one."""
    digest = sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b" % (len(data), data))
    return digest.hexdigest()


def name_image(key: str) -> str:
    """The id under which the image of a layer is made."""
    return f"{PREFIX}{key}"


class LayerCache:
    """All layers, in memory and in the store; their images are the runtime's."""

    def __init__(self, *, store: Store, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime
        self._layers: dict[str, Layer] = {}

    async def load(self) -> None:
        """Read the store."""
        self._layers = {layer.key: layer for layer in await self._store.load_layers()}

    async def find(self, key: str, template_id: str) -> Layer | None:
        """Return a layer whose image is there, and count it as used by the template; raises EngineError."""
        layer = self._layers.get(key)
        if layer is None or await self._runtime.find_image(layer.image) is None:
            return None
        used = replace(layer, template_id=template_id, used_at=now())
        await self.save(used)
        return used

    async def save(self, layer: Layer) -> None:
        """Remember a layer."""
        await self._store.save_layer(layer)
        self._layers[layer.key] = layer

    def holds(self, image_id: str) -> bool:
        """Whether this image, by the id it was made under, is the one of a layer."""
        return image_id.removeprefix(PREFIX) in self._layers

    async def forget(self, is_template: Callable[[str], bool]) -> None:
        """Forget layers that nobody has used for long; their images go with the next collection."""
        for layer in list(self._layers.values()):
            kept = KEPT if is_template(layer.template_id) else KEPT_ALONE
            if layer.used_at + kept < now():
                await self._store.delete_layer(layer.key)
                del self._layers[layer.key]
