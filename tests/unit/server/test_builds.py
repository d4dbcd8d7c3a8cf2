"""Builds of templates over pretended containers: what is asked for, kept, refused, and left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from unit.server.conftest import connect

from sandlot_server.bundle.templates import encode
from sandlot_server.installation import Installation, open_installation
from sandlot_server.models import DEFAULT_TEAM, NewSandbox, now
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings

HASH = "a" * 64
FROM_BASE: dict[str, Any] = {"fromImage": "e2bdev/base"}


def run_step(command: str, **fields: Any) -> dict[str, Any]:
    return {"type": "RUN", "args": [command], **fields}


async def ask(api: httpx.AsyncClient, name: str = "mine", **body: Any) -> dict[str, Any]:
    reply = await api.post("/v3/templates", json={"name": name, **body})
    assert reply.status_code == 202, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def begin(api: httpx.AsyncClient, asked: dict[str, Any], **plan: Any) -> httpx.Response:
    url = f"/v2/templates/{asked['templateID']}/builds/{asked['buildID']}"
    return await api.post(url, json={**FROM_BASE, **plan})


async def read(api: httpx.AsyncClient, asked: dict[str, Any], **query: Any) -> dict[str, Any]:
    url = f"/templates/{asked['templateID']}/builds/{asked['buildID']}/status"
    found: dict[str, Any] = (await api.get(url, params=query)).json()
    return found


async def finish(api: httpx.AsyncClient, asked: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while (status := await read(api, asked))["status"] in ("waiting", "building"):
            await asyncio.sleep(0.01)
    return status


async def build(api: httpx.AsyncClient, name: str = "mine", **plan: Any) -> dict[str, Any]:
    asked = await ask(api, name)
    assert (await begin(api, asked, **plan)).status_code == 202
    return {**asked, **await finish(api, asked)}


def messages(status: dict[str, Any]) -> list[str]:
    return [entry["message"] for entry in status["logEntries"]]


class Watching(MemoryRuntime):
    """Remembers what all containers were asked to run, those that are gone too."""

    def __init__(self) -> None:
        super().__init__()
        self.decided: list[str] = []
        self.codes: dict[str, int] = {}
        self.decide = self._note

    def _note(self, argv: list[str]) -> int:
        self.decided.append(argv[-1])
        return self.codes.get(argv[-1], 0)


@pytest.fixture
def runtime() -> Watching:
    return Watching()


@pytest.fixture
async def idle(installation: Installation) -> AsyncIterator[Installation]:
    """Checks at the end that no container is left of a build."""
    yield installation
    await installation.tasks.finish(5)
    assert await installation.runtime.list_containers() == []


async def test_a_build_from_request_to_sandbox(idle: Installation, api: httpx.AsyncClient) -> None:
    asked = await ask(api, "sandlot/Mine:v1", tags=["v2"], cpuCount=4, memoryMB=512)
    assert (asked["aliases"], asked["names"], asked["tags"]) == (["mine"], ["sandlot/mine"], ["v1", "v2"])
    assert (await read(api, asked)) | {"logEntries": []} == {
        "templateID": asked["templateID"],
        "buildID": asked["buildID"],
        "status": "waiting",
        "logs": [],
        "logEntries": [],
    }
    reply = await begin(api, asked, steps=[run_step("make"), {"type": "ENV", "args": ["A", "b"]}])
    assert (reply.status_code, reply.content) == (202, b"")
    assert (await finish(api, asked))["status"] == "ready"
    sandbox = await idle.service.create(NewSandbox(template="mine:v2", timeout_s=60, secure=True))
    assert (sandbox.spec.cpu_count, sandbox.spec.memory_mb, sandbox.spec.context.env) == (4, 512, {"A": "b"})
    await idle.service.kill(sandbox.id)
    listed = (await api.get("/templates")).json()
    mine = next(one for one in listed if one["templateID"] == asked["templateID"])
    assert (mine["spawnCount"], mine["buildStatus"], mine["names"]) == (1, "ready", ["sandlot/mine"])


async def test_the_log_is_read_in_pages_until_it_is_empty(idle: Installation, api: httpx.AsyncClient) -> None:
    status = await build(api, steps=[run_step("one"), run_step("two")])
    whole = messages(status)
    assert whole[1].startswith("[base] FROM e2bdev/base [")
    assert whole[2].startswith("[builder 1/2] RUN one [")
    assert whole[-1].startswith("Build finished, took ")
    assert messages(await read(api, status, logsOffset=1, limit=2)) == whole[1:3]
    assert messages(await read(api, status, logsOffset=len(whole))) == []
    steps = [entry.get("step") for entry in status["logEntries"]]
    assert steps == [None, "base", "1", "2", None]
    url = f"/templates/{status['templateID']}/builds/{status['buildID']}/logs"
    backward = (await api.get(url, params={"direction": "backward", "limit": 1})).json()["logs"]
    assert [line["message"] for line in backward] == whole[-1:]
    assert (await api.get(url, params={"direction": "sideways"})).status_code == 400


async def test_what_was_built_before_is_not_built_again(
    idle: Installation, api: httpx.AsyncClient, runtime: Watching
) -> None:
    steps = [run_step("one"), run_step("two")]
    await build(api, steps=steps)
    status = await build(api, "other", steps=steps)
    assert runtime.decided == ["one", "two"]
    assert [text.startswith("CACHED [builder") for text in messages(status)[2:4]] == [True, True]
    await build(api, steps=[run_step("one"), run_step("changed"), run_step("two")])
    assert runtime.decided == ["one", "two", "changed", "two"]
    await build(api, steps=steps, force=True)
    assert runtime.decided[4:] == ["one", "two"]
    await build(api, steps=[run_step("one"), run_step("two", force=True)])
    assert runtime.decided[6:] == ["two"]


async def test_context_passes_from_step_to_step(idle: Installation, api: httpx.AsyncClient) -> None:
    steps = [
        {"type": "USER", "args": ["bob"]},
        {"type": "WORKDIR", "args": ["/srv"]},
        {"type": "WORKDIR", "args": ["app"]},
        {"type": "ENV", "args": ["A", "1", "B", "2"]},
        {"type": "ARG", "args": ["A", "3"]},
    ]
    await build(api, steps=steps, startCmd="serve", readyCmd="look")
    template = idle.catalogue.resolve("mine", DEFAULT_TEAM)
    assert (template.context.user, template.context.workdir) == ("bob", "/srv/app")
    assert template.context.env == {"A": "3", "B": "2"}
    assert template.start is not None
    assert (template.start.command, template.start.ready, template.start.context) == (
        "serve",
        "look",
        template.context,
    )
    await build(api, "child", fromImage=None, fromTemplate="mine", steps=[{"type": "USER", "args": ["eve"]}])
    child = idle.catalogue.resolve("child", DEFAULT_TEAM)
    assert (child.context.user, child.context.workdir, child.start) == ("eve", "/srv/app", template.start)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (run_step("fails"), "failed to run command 'fails': exit status 3"),
        ({"type": "RUN", "args": []}, "RUN requires command argument"),
        ({"type": "COPY", "args": ["a"]}, "COPY requires a local path and a container path argument"),
        ({"type": "COPY", "args": ["a", "b"]}, "COPY requires files hash to be set"),
        ({"type": "ADD", "args": ["a", "b"], "filesHash": HASH}, "the files of 'ADD a b' were not uploaded"),
        ({"type": "ENV", "args": ["A"]}, "ENV requires both a key and value arguments"),
        ({"type": "ENV", "args": ["A=", "x"]}, "'A=' cannot be an environment variable"),
        ({"type": "VOLUME", "args": ["/x"]}, "step type 'VOLUME' is not supported"),
    ],
)
async def test_a_step_that_fails_is_named(
    idle: Installation, api: httpx.AsyncClient, runtime: Watching, step: dict[str, Any], message: str
) -> None:
    runtime.codes["fails"] = 3
    status = await build(api, steps=[run_step("fine"), step])
    assert (status["status"], status["reason"]["step"], status["reason"]["message"]) == ("error", "2", message)
    assert [entry["level"] for entry in status["reason"]["logEntries"]] == ["error"]
    assert (await api.get("/templates/aliases/mine")).status_code == 404
    assert [one for one in await runtime.list_images() if not one.startswith("layer-")] == []


async def test_failures_before_and_after_the_steps(
    idle: Installation, api: httpx.AsyncClient, runtime: Watching
) -> None:
    status = await build(api, fromImage="missing:1")
    assert status["reason"]["step"] == "base"
    assert "could not be pulled" in status["reason"]["message"]
    status = await build(api, fromImage=None, fromTemplate="nothing")
    assert "template 'nothing' not found" in status["reason"]["message"]
    runtime.codes |= {"serve": 1, "look": 1}
    status = await build(api, startCmd="serve", readyCmd="look")
    assert (status["reason"]["step"], status["reason"]["message"]) == (
        "finalize",
        "start command failed: error running start command: exit status 1",
    )


async def test_a_foreign_image_is_made_fit_once(idle: Installation, api: httpx.AsyncClient, runtime: Watching) -> None:
    await build(api, fromImage="ubuntu:22.04")
    await build(api, "other", fromImage="ubuntu:22.04")
    assert runtime.decided == ["yes"]
    runtime.decided.clear()
    status = await build(api, fromImage="ubuntu:22.04", force=True)
    assert runtime.decided == ["yes"]
    assert any("there is no registry; the one that is here is used" in text for text in messages(status))


async def test_files_are_uploaded_by_link_alone(idle: Installation, api: httpx.AsyncClient) -> None:
    asked = await ask(api)
    url = f"/templates/{asked['templateID']}/files/{HASH}"
    link = await api.get(url)
    assert (link.status_code, link.json()["present"]) == (201, False)
    without_key = {"X-API-KEY": ""}
    assert (await api.put(link.json()["url"], content=b"x" * 100_000, headers=without_key)).status_code == 200
    assert (await api.get(url)).json()["present"] is True
    archive = idle.builds.archives.find(DEFAULT_TEAM, HASH)
    assert archive is not None
    assert archive.read_bytes() == b"x" * 100_000
    assert [path.name for path in archive.parent.iterdir()] == [HASH]


@pytest.mark.parametrize(
    ("change", "by"),
    [("token=", "token=0"), ("expires=", "expires=9"), (HASH, "b" * 64), ("token=", "token=ü"), ("expires=", "e=")],
)
async def test_a_link_is_good_for_what_it_names(api: httpx.AsyncClient, change: str, by: str) -> None:
    asked = await ask(api)
    link = (await api.get(f"/templates/{asked['templateID']}/files/{HASH}")).json()["url"]
    reply = await api.put(link.replace(change, by), content=b"x")
    assert (reply.status_code, reply.json()["code"]) == (403, 403)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Name is required"),
        ({"name": "A b"}, "invalid template ID"),
        ({"name": "a" * 129}, "128"),
        ({"name": "other/mine"}, "must match your team"),
        ({"name": "a", "tags": ["no tag"]}, "Invalid tag"),
        ({"name": "a", "tags": ["123e4567-e89b-12d3-a456-426614174000"]}, "Invalid tag"),
        ({"name": "a", "cpuCount": 3}, "CPU count"),
        ({"name": "a", "memoryMB": 127}, "Memory"),
        ({"name": "a", "minFreeDiskMb": 1}, "'minFreeDiskMb' is not supported"),
    ],
)
async def test_requests_that_are_refused(api: httpx.AsyncClient, body: dict[str, Any], message: str) -> None:
    reply = await api.post("/v3/templates", json=body)
    assert reply.status_code == 400
    assert message in reply.json()["message"]


async def test_starts_that_are_refused(idle: Installation, api: httpx.AsyncClient) -> None:
    asked = await ask(api)
    both = await begin(api, asked, fromTemplate="base")
    assert (both.status_code, "exactly one" in both.json()["message"]) == (400, True)
    aws = {"type": "aws", "awsAccessKeyId": "a", "awsSecretAccessKey": "b", "awsRegion": "c"}
    assert (await begin(api, asked, fromImageRegistry=aws)).status_code == 501
    assert (await begin(api, {**asked, "buildID": "nothing"})).status_code == 404
    assert (await begin(api, asked)).status_code == 202
    await finish(api, asked)
    again = await begin(api, asked)
    assert (again.status_code, again.json()["message"]) == (400, "build is not in waiting state")
    unknown = await api.get(f"/templates/{asked['templateID']}/builds/nothing/status")
    assert (unknown.status_code, unknown.json()["message"]) == (400, "Build 'nothing' not found")


async def test_a_team_of_ones_own_is_named_or_none(idle: Installation, api: httpx.AsyncClient) -> None:
    own = idle.identity.find_team_id("sandlot")
    assert (await ask(api, teamID=own))["aliases"] == ["mine"]
    refused = await api.post("/v3/templates", json={"name": "mine", "teamID": "another"})
    assert (refused.status_code, "another" in refused.json()["message"]) == (403, True)


async def test_images_of_templates_are_no_base(idle: Installation, api: httpx.AsyncClient) -> None:
    status = await build(api, fromImage="sandlot/build-123:456")
    assert (status["reason"]["step"], "build from the template" in status["reason"]["message"]) == ("base", True)


@pytest.mark.parametrize("body", [b"no json", b"{}", b"[1]", b'[{"id": "x"}]'])
async def test_descriptions_of_templates_that_are_none(api: httpx.AsyncClient, body: bytes) -> None:
    assert (await api.post("/_sandlot/templates", content=body)).status_code == 400


async def test_a_built_in_template_is_not_brought_along(idle: Installation, api: httpx.AsyncClient) -> None:
    described = encode(idle.catalogue.resolve("base", "sandlot"))
    refused = await api.post("/_sandlot/templates", json=[described])
    assert (refused.status_code, "built in" in refused.json()["message"]) == (400, True)


async def test_the_base_template_stays_what_it_is(idle: Installation, api: httpx.AsyncClient) -> None:
    assert (await api.post("/v3/templates", json={"name": "base"})).status_code == 403
    assert (await api.delete("/templates/base")).status_code == 400
    assert (await api.patch("/v2/templates/base", json={"public": True})).status_code == 403
    assert (await api.post("/templates/tags", json={"target": "base", "tags": ["x"]})).status_code == 403
    assert (await api.get("/templates/aliases/base")).json() == {"templateID": "base", "public": False}


async def test_a_newer_build_ends_the_one_before(idle: Installation, api: httpx.AsyncClient, runtime: Watching) -> None:
    runtime._start_delay_s = 60
    older = await ask(api)
    await begin(api, older, steps=[run_step("slow")])
    async with asyncio.timeout(5):
        while not any(box.status == "created" for box in await runtime.list_containers()):
            await asyncio.sleep(0.01)
    runtime._start_delay_s = 0
    newer = await ask(api)
    assert newer["templateID"] == older["templateID"]
    status = await read(api, older)
    assert (status["status"], "superseded" in status["reason"]["message"]) == ("error", True)
    await begin(api, newer)
    assert (await finish(api, newer))["status"] == "ready"


async def test_too_many_builds(settings: Settings, runtime: Watching) -> None:
    few = settings.model_copy(update={"max_waiting_builds": 1})
    installation = open_installation(few, runtime=runtime)
    async with installation.run(), connect(installation) as api:
        await ask(api)
        await ask(api)  # replaces the one before
        assert (await api.post("/v3/templates", json={"name": "other"})).status_code == 429


async def test_a_build_that_the_server_did_not_survive(settings: Settings, runtime: Watching) -> None:
    async with (installation := open_installation(settings, runtime=runtime)).run(), connect(installation) as api:
        done = await build(api, "done", steps=[run_step("one")])
        waiting = await ask(api)
    async with (installation := open_installation(settings, runtime=runtime)).run(), connect(installation) as api:
        status = await read(api, waiting)
        assert (status["status"], "interrupted" in status["reason"]["message"]) == ("error", True)
        assert messages(await read(api, done)) == messages(done)
        again = await build(api, "again", steps=[run_step("one")])
        assert any(text.startswith("CACHED") for text in messages(again))


async def test_tags(idle: Installation, api: httpx.AsyncClient) -> None:
    made = await build(api)
    assigned = await api.post("/templates/tags", json={"target": "mine", "tags": ["V1", "v2", "v1"]})
    assert (assigned.status_code, assigned.json()) == (201, {"tags": ["v1", "v2"], "buildID": made["buildID"]})
    listed = {one["tag"]: one["buildID"] for one in (await api.get("/templates/mine/tags")).json()}
    assert listed == dict.fromkeys(["default", "v1", "v2"], made["buildID"])
    assert (await api.get("/templates/aliases/mine:v1")).status_code == 200
    assert (await api.request("DELETE", "/templates/tags", json={"name": "mine", "tags": ["v1"]})).status_code == 204
    assert (await api.get("/templates/aliases/mine:v1")).status_code == 404
    for name, tags in (("mine", ["default"]), ("mine:v2", ["v2"]), ("mine", [])):
        assert (await api.request("DELETE", "/templates/tags", json={"name": name, "tags": tags})).status_code == 400
    missing = await api.post("/templates/tags", json={"target": "mine:v9", "tags": ["x"]})
    assert (missing.status_code, missing.json()["message"]) == (404, "Template 'mine:v9' with tag 'v9' not found")


async def test_publishing_showing_and_deleting(idle: Installation, api: httpx.AsyncClient) -> None:
    made = await build(api)
    published = await api.patch("/v2/templates/mine", json={"public": True})
    assert published.json() == {"names": ["sandlot/mine"]}
    shown = (await api.get("/templates/sandlot%2Fmine")).json()
    assert (shown["public"], [one["buildID"] for one in shown["builds"]]) == (True, [made["buildID"]])
    sandbox = await idle.service.create(NewSandbox(template="mine", timeout_s=60, secure=True))
    assert (await api.delete("/templates/mine")).status_code == 400
    await idle.service.kill(sandbox.id)
    await idle.tasks.finish(5)
    assert (await api.delete("/templates/mine")).status_code == 204
    assert (await api.delete("/templates/mine")).status_code == 404
    assert (await api.get("/templates/mine")).status_code == 404
    assert made["buildID"] not in await idle.runtime.list_images()


async def test_pages_of_templates(idle: Installation, api: httpx.AsyncClient) -> None:
    for name in ("one", "two"):
        await build(api, name)
    first = await api.get("/v2/templates", params={"limit": 2})
    second = await api.get("/v2/templates", params={"limit": 2, "nextToken": first.headers["x-next-token"]})
    assert [one["aliases"] for one in first.json() + second.json()] == [["two"], ["one"], ["base"]]
    assert "x-next-token" not in second.headers


async def test_layers_that_nobody_has_used_for_long_go(
    idle: Installation, api: httpx.AsyncClient, runtime: Watching
) -> None:
    await build(api, steps=[run_step("one")])
    await build(api, "fails", steps=[{"type": "ENV", "args": ["A", "b"]}, run_step("two"), {"type": "VOLUME"}])
    assert len(await runtime.list_images()) == 3
    for age, left in ((timedelta(hours=2), 2), (timedelta(days=15), 1)):
        for layer in await idle.store.load_layers():
            await idle.layers.save(replace(layer, used_at=now() - age))
        await idle.builds.forget()
        await idle.images.collect()
        assert len(await runtime.list_images()) == left
    assert await idle.store.load_layers() == []
