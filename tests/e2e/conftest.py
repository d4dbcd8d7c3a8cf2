"""Live servers on the real engine; each test file's server is removed with everything it started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from e2b import Sandbox

from support import engine
from support.bundle import save_bundle
from support.commands import run
from support.internet import Internet, open_internet
from support.live import LiveServer

RECIPES = Path(__file__).parent / "images"


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    client = engine.connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Images of every kind, by what is special about them."""
    names = {name: f"sandlot-test/{name}" for name in ("empty", "busybox", "musl", "nonroot", "hostile")}
    for name, image in names.items():
        run(["docker", "build", "-q", "-t", image, "--target", name, str(RECIPES)], RECIPES)
    return names


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    """A pretended internet, to which this host has routes as long as the module's tests run."""
    with open_internet(tmp_path_factory.mktemp("internet")) as internet:
        yield internet


@pytest.fixture(scope="module")
def server_settings() -> dict[str, str]:
    """Settings of the module's server that differ from the defaults."""
    return {}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Everything that an empty engine needs, in one file; about a gigabyte, so it does not outlive the run."""
    live = LiveServer(tmp_path_factory.mktemp("bundling"), SANDLOT_POOL_SIZE="0")
    path = tmp_path_factory.mktemp("bundle") / "site.tar"
    try:
        live.start()
        save_bundle(live, path)
    finally:
        live.remove()
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, client: docker.DockerClient, server_settings: dict[str, str]
) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("sandlot"), **server_settings)
    try:
        live.start()
        yield live
    finally:
        installation = live.installation
        live.remove()
    assert engine.find_leftovers(client, installation) == []


@pytest.fixture
def create(server: LiveServer) -> Iterator[Callable[..., Sandbox]]:
    """Make sandboxes that end with the test."""
    made: list[Sandbox] = []

    def make(**options: Any) -> Sandbox:
        sandbox = Sandbox.create(**{"timeout": 120, **options, **server.options})
        made.append(sandbox)
        return sandbox

    yield make
    for sandbox in made:
        sandbox.kill()


@pytest.fixture
def sandbox(create: Callable[..., Sandbox]) -> Sandbox:
    return create()
