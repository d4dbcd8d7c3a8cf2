"""An image archive as the engine loads it, made of a layer of ours on top of an image that the engine has."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

BLOCK = 512
CHUNK = 1 << 20
MAX_LAYERS = 120
"""The engine takes 127; a few are left for containers and builds on top."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in a file, with the digest of its content."""

    path: Path
    diff_id: str


def make_image_config(parent: Mapping[str, Any], layer: Layer, labels: Mapping[str, str]) -> bytes:
    """The configuration of the image: that of its parent (as the engine shows it), one layer more, other labels."""
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    config = {**parent["Config"], "Labels": {**(parent["Config"].get("Labels") or {}), **labels}}
    return json.dumps(
        {
            "architecture": parent["Architecture"],
            "os": parent["Os"],
            "created": created,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [*parent["RootFS"]["Layers"], layer.diff_id]},
            "history": [
                *({"created": created, "comment": "parent"} for _ in parent["RootFS"]["Layers"]),
                {"created": created, "created_by": "sandlot snapshot"},
            ],
        }
    ).encode()


def iterate_archive(config: bytes, layer: Layer, parents: int, tag: str) -> Iterator[bytes]:
    """Yield the archive in pieces. The layers below are not in it: the engine knows them by their digests."""
    config_name = f"{sha256(config).hexdigest()}.json"
    layers = [*(f"known-{number}/layer.tar" for number in range(parents)), "new/layer.tar"]
    manifest = json.dumps([{"Config": config_name, "RepoTags": [tag], "Layers": layers}]).encode()
    yield from _pack(config_name, len(config), iter([config]))
    yield from _pack("manifest.json", len(manifest), iter([manifest]))
    yield from _pack("new/layer.tar", layer.path.stat().st_size, _read(layer.path))
    yield bytes(2 * BLOCK)


def _pack(name: str, size: int, content: Iterator[bytes]) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = size
    yield info.tobuf(tarfile.PAX_FORMAT)
    yield from content
    yield bytes(-size % BLOCK)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
