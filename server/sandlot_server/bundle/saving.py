"""Saving a bundle: what is on this machine, and the packages that the server itself is made of."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sandlot_server.bundle import templates
from sandlot_server.bundle.archive import CHUNK, BundleWriter
from sandlot_server.bundle.engine import Engine
from sandlot_server.errors import BundleError
from sandlot_server.models import Template
from sandlot_server.settings import Settings
from sandlot_server.store.sqlite import SqliteStore
from sandlot_server.templates import RECIPES, Catalogue

SERVER_IMAGES = ("sandlot/server", "sandlot/server-base")
INSTALLERS = ("pip", "setuptools", "wheel", "uv>=0.9,<1", "hatchling>=1.27", "editables")
"""What docker/venv.sh needs besides what the lock names."""

Say = Callable[[str], None]


async def save(
    settings: Settings, path: Path, references: Sequence[str], *, lock: Path | None, say: Say = lambda text: None
) -> None:
    """Write a bundle with the base template, the agent, and these templates or all, shipped ones that are built too.

    `lock` names the packages of the server and of the project's tools; None leaves them out. Raises BundleError,
    EngineError, OSError; after a failure there is no file.
    """
    catalogue = await load_catalogue(settings)
    chosen = templates.pick(catalogue, references)
    engine = Engine()
    writer = BundleWriter(path)
    try:
        images = [*_find_images(engine, settings, references), *(one.image for one in chosen)]
        _write(settings, engine, writer, images, chosen, lock, say)
    finally:
        writer.discard()
        engine.close()


async def load_catalogue(settings: Settings) -> Catalogue:
    """Read the templates of this installation, whether or not its server runs."""
    store = SqliteStore(settings.database)
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    await store.open()
    try:
        catalogue = Catalogue(store)
        await catalogue.load(settings)
    finally:
        await store.close()
    return catalogue


def _find_images(engine: Engine, settings: Settings, references: Sequence[str]) -> Iterator[str]:
    """Images of the base template, of shipped ones and of the server.

    Under every name: docker/build.sh asks for the one that tells the recipe, a server for the one in its settings.
    """
    base = engine.find_tags(settings.base_image)
    if not base:
        raise BundleError(f"there is no image {settings.base_image}: `make images` makes it")
    yield from base
    yield from engine.find_images(SERVER_IMAGES)
    for name, recipe in RECIPES.items():
        tags = engine.find_tags(f"sandlot/{recipe}:latest")
        if not tags and name in references:
            raise BundleError(f"the image of template '{name}' is not built yet: run docker/build.sh {recipe}")
        if name in references or not references:
            yield from tags


def _write(
    settings: Settings,
    engine: Engine,
    writer: BundleWriter,
    found: Sequence[str],
    chosen: Sequence[Template],
    lock: Path | None,
    say: Say,
) -> None:
    volume = engine.find_volume(settings.agent_volume)
    images = list(dict.fromkeys(found))
    if lock is not None:
        say("packages")
        _add_packages(writer, lock)
    say(f"agent {volume.name}")
    writer.add("agent.tar", engine.save_volume(volume, settings.base_image))
    say(f"images {', '.join(images)}")
    writer.add("images.tar", engine.save_images(images))
    writer.finish(
        {
            "architecture": engine.architecture,
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "agent": {"name": volume.name, "labels": volume.labels},
            "base_image": settings.base_image,
            "images": images,
            "templates": [templates.encode(one) for one in chosen],
        }
    )


def _add_packages(writer: BundleWriter, lock: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _download(["--no-deps", "--require-hashes", "-r", str(lock)], folder)
        _download(list(INSTALLERS), folder)
        for file in sorted(Path(folder).iterdir()):
            writer.add(f"packages/{file.name}", _read(file))


def _download(what: list[str], folder: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", folder]
    done = subprocess.run([*command, *what], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
        raise BundleError(f"the packages could not be downloaded ({last}); --no-packages leaves them out")


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
