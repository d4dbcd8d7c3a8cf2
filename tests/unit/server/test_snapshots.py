"""Snapshots and forks through the API, over the memory runtime."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from sandlot_server.errors import EngineError
from sandlot_server.installation import Installation
from sandlot_server.models import SandboxState
from sandlot_server.runtime.memory import MemoryRuntime
from support.polling import until


async def create(api: httpx.AsyncClient, template: str = "base", **fields: object) -> str:
    answer = await api.post("/v2/sandboxes", json={"templateID": template, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["sandboxID"])


async def snapshot(api: httpx.AsyncClient, sandbox_id: str, **fields: object) -> dict[str, object]:
    answer = await api.post(f"/sandboxes/{sandbox_id}/snapshots", json=fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    return made


async def test_a_snapshot_is_a_template(
    api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime
) -> None:
    source = await create(api)
    container = installation.service.get(source).container
    made = await snapshot(api, source)
    assert made["names"] == []
    assert str(made["snapshotID"]).endswith(":default")
    assert installation.service.get(source).state is SandboxState.RUNNING
    assert runtime.agent(container).calls[-2:] == ["POST /freeze", "POST /unfreeze"]
    copies = [await create(api, str(made["snapshotID"])) for _ in range(2)]
    shown = (await api.get(f"/sandboxes/{copies[0]}")).json()
    assert f"{shown['templateID']}:default" == made["snapshotID"]


async def test_names_tags_and_filters(api: httpx.AsyncClient) -> None:
    source, other = await create(api), await create(api)
    first = await snapshot(api, source, name="Mine")
    second = await snapshot(api, source, name="mine:v2")
    third = await snapshot(api, other)
    assert (first["snapshotID"], first["names"]) == ("sandlot/mine:default", ["sandlot/mine"])
    assert second["snapshotID"] == "sandlot/mine:v2"

    async def listed(**query: str) -> list[str]:
        return [one["snapshotID"] for one in (await api.get("/snapshots", params=query)).json()]

    assert await listed() == [third["snapshotID"], second["snapshotID"], first["snapshotID"]]
    assert await listed(sandboxID=other) == [third["snapshotID"]]
    assert await listed(name="mine") == [second["snapshotID"], first["snapshotID"]]
    assert await listed(name="sandlot/mine:default") == [first["snapshotID"]]
    assert await listed(name="other") == []
    for name in ("mine", "sandlot/mine", "mine:v2"):
        await create(api, name)
    assert (await api.post("/v2/sandboxes", json={"templateID": "mine:v3"})).status_code == 404


async def test_snapshots_come_in_pages(api: httpx.AsyncClient) -> None:
    source = await create(api)
    made = [(await snapshot(api, source))["snapshotID"] for _ in range(3)]
    seen: list[str] = []
    query = {"limit": "2"}
    while True:
        answer = await api.get("/snapshots", params=query)
        seen += [one["snapshotID"] for one in answer.json()]
        if "x-next-token" not in answer.headers:
            break
        query["nextToken"] = answer.headers["x-next-token"]
    assert seen == made[::-1]


async def test_deleting_twice(api: httpx.AsyncClient, runtime: MemoryRuntime, installation: Installation) -> None:
    source = await create(api)
    made = await snapshot(api, source, name="gone")
    copy = await create(api, "gone")
    path = "/templates/sandlot%2Fgone%3Adefault"
    used = await api.delete(path)
    assert (used.status_code, "running sandboxes" in used.json()["message"]) == (400, True)
    await api.delete(f"/sandboxes/{copy}")
    await installation.tasks.finish(5)
    assert made["snapshotID"] == "sandlot/gone:default"
    assert (await api.delete(path)).status_code == 204
    assert (await api.delete(path)).status_code == 404
    assert await runtime.list_images() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": "a b"}, "invalid template ID"),
        ({"name": "other/x"}, "namespace 'other' must match"),
        ({"name": "base"}, "built-in"),
        ({"memory": True}, "'memory=true' is not supported"),
    ],
)
async def test_snapshots_that_are_refused(api: httpx.AsyncClient, body: object, message: str) -> None:
    answer = await api.post(f"/sandboxes/{await create(api)}/snapshots", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["message"]


async def test_a_failed_snapshot_lets_the_sandbox_go_on(api: httpx.AsyncClient, installation: Installation) -> None:
    source = await create(api)
    runtime = installation.runtime
    assert isinstance(runtime, MemoryRuntime)

    def fail(operation: str, name: str) -> None:
        if operation == "capture":
            raise EngineError("no space left on device")

    runtime.before = fail
    answer = await api.post(f"/sandboxes/{source}/snapshots", json={})
    assert (answer.status_code, answer.json()["message"]) == (500, "no space left on device")
    assert installation.service.get(source).state is SandboxState.RUNNING
    assert (await api.get("/snapshots")).json() == []


async def test_forks_are_like_their_source(api: httpx.AsyncClient, installation: Installation) -> None:
    source = await create(api, metadata={"a": "b"}, envVars={"X": "y"}, autoPause=True)
    answer = await api.post(f"/sandboxes/{source}/fork", json={"count": 2, "timeout": 77})
    assert answer.status_code == 201
    forks = [one["sandbox"] for one in answer.json()]
    tokens = {one["envdAccessToken"] for one in forks} | {installation.identity.envd_token(source)}
    assert len(tokens) == 3
    for one in forks:
        sandbox = installation.service.get(one["sandboxID"])
        assert (sandbox.end_at - sandbox.started_at).total_seconds() == 77
        assert sandbox.spec.metadata == {"a": "b"}
        assert sandbox.spec.env_vars == {"X": "y"}
        assert sandbox.spec.lifecycle.auto_pause
    assert (await api.get("/snapshots")).json() == []


@pytest.mark.parametrize("ends_s", [0, 100])
async def test_time_goes_on_while_a_snapshot_is_made(
    api: httpx.AsyncClient, installation: Installation, ends_s: int
) -> None:
    """An end that comes in the middle comes right after it, unless it was moved."""
    source = await create(api, timeout=1)
    entry = installation.registry.get(source)
    assert entry is not None
    entry.change(SandboxState.SNAPSHOTTING)
    assert (await api.post(f"/sandboxes/{source}/timeout", json={"timeout": ends_s})).status_code == 204
    await asyncio.sleep(1.1)  # its first end has to pass
    entry.change(SandboxState.RUNNING)
    if ends_s:
        await asyncio.sleep(0.1)
        assert installation.service.get(source).state is SandboxState.RUNNING
    else:
        await until(lambda: installation.registry.get(source) is None, "it ends")


async def test_logs_say_that_files_alone_are_kept(api: httpx.AsyncClient) -> None:
    source = await create(api)
    made = (await snapshot(api, source, name="mine"))["snapshotID"]
    assert made == "sandlot/mine:default"
    fork = (await api.post(f"/sandboxes/{source}/fork", json={"count": 2})).json()[0]["sandbox"]["sandboxID"]

    async def read(sandbox_id: str) -> list[str]:
        entries = (await api.get(f"/sandboxes/{sandbox_id}/logs")).json()["logEntries"]
        return [one["message"] for one in entries if "event" in one["fields"]]

    created, kept, forked = await read(source)
    assert created.startswith("created from base in")
    assert kept.endswith(" (files only)")
    assert forked == "was forked 2 times (files only)"
    assert (await read(fork))[0].startswith(f"created from base, the files of {source}, in")


async def test_forks_fail_one_by_one(api: httpx.AsyncClient, installation: Installation) -> None:
    object.__setattr__(installation.settings, "max_sandboxes", 3)
    source = await create(api)
    await create(api)
    results = (await api.post(f"/sandboxes/{source}/fork", json={"count": 2})).json()
    assert sorted("sandbox" in one for one in results) == [False, True]
    assert [one["error"]["code"] for one in results if "error" in one] == [429]


async def test_forks_that_are_refused(api: httpx.AsyncClient) -> None:
    source = await create(api)
    for body in ({"count": 0}, {"count": 101}, {"timeout": 0}):
        assert (await api.post(f"/sandboxes/{source}/fork", json=body)).status_code == 400
    await api.post(f"/sandboxes/{source}/pause")
    paused = await api.post(f"/sandboxes/{source}/fork")
    assert (paused.status_code, "is paused and cannot be forked" in paused.json()["message"]) == (409, True)
    await api.delete(f"/sandboxes/{source}")
    assert (await api.post(f"/sandboxes/{source}/fork")).status_code == 404


async def test_images_of_no_use_are_removed(
    api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime
) -> None:
    source = await create(api)
    fork = (await api.post(f"/sandboxes/{source}/fork")).json()[0]["sandbox"]["sandboxID"]
    await installation.images.collect()
    assert len(await runtime.list_images()) == 1
    await api.delete(f"/sandboxes/{fork}")
    await installation.tasks.finish(5)
    await installation.images.collect()
    assert await runtime.list_images() == []
