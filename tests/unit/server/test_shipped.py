"""Templates that come with Sandlot are there once their images are, whether or not the server was running."""

from __future__ import annotations

import httpx

from sandlot_server.installation import Installation
from sandlot_server.runtime.base import ImageInfo
from sandlot_server.runtime.memory import MemoryRuntime
from support.polling import until

NAME = "code-interpreter-v1"
IMAGE = "sandlot/code-interpreter:latest"


async def test_one_that_is_not_built_says_how_to_build_it(api: httpx.AsyncClient) -> None:
    answer = await api.post("/sandboxes", json={"templateID": NAME})
    assert answer.status_code == 404
    assert "docker/build.sh code-interpreter" in answer.json()["message"]


async def test_one_that_is_built_while_the_server_runs_is_found(api: httpx.AsyncClient, runtime: MemoryRuntime) -> None:
    runtime.described[IMAGE] = ImageInfo("sha256:1", {"sandlot.ready": "true"})
    answer = await api.post("/sandboxes", json={"templateID": NAME})
    assert answer.status_code == 201, answer.text
    assert answer.json()["templateID"] == NAME


async def test_another_image_is_another_build(installation: Installation, runtime: MemoryRuntime) -> None:
    builds = []
    for image_id in ("sha256:1", "sha256:2"):
        runtime.described[IMAGE] = ImageInfo(image_id, {"sandlot.start": "serve", "sandlot.ready": "true"})
        await installation.shipped.adopt_all()
        template = installation.catalogue.find(NAME)
        assert template is not None
        assert template.start is not None
        assert (template.start.command, template.start.ready) == ("serve", "true")
        builds.append(template.build_id)
    assert builds[0] != builds[1]


async def test_an_image_that_is_built_anew_is_seen_by_the_sweep(
    installation: Installation, runtime: MemoryRuntime
) -> None:
    def build_id() -> str | None:
        template = installation.catalogue.find(NAME)
        return template.build_id if template is not None else None

    runtime.described[IMAGE] = ImageInfo("sha256:1", {})
    await installation.shipped.adopt_all()
    before = build_id()
    runtime.described[IMAGE] = ImageInfo("sha256:2", {})
    runtime.lose_watchers()  # the engine is back, so the sweep comes now
    await until(lambda: build_id() not in (None, before), "the new image is a new build")


async def test_nobody_deletes_it(api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime) -> None:
    runtime.described[IMAGE] = ImageInfo("sha256:1", {})
    await installation.shipped.adopt_all()
    assert (await api.delete(f"/templates/{NAME}")).status_code in (400, 403)
    assert installation.catalogue.find(NAME) is not None
