"""Teams and keys: what the operator can do, and that nothing of one team shows to another."""

from __future__ import annotations

import asyncio
import importlib
import json
import pkgutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from sandlot_server import api as routes_of_api
from sandlot_server.api import unbuilt
from sandlot_server.app import run_server
from sandlot_server.identity import load_identity
from sandlot_server.installation import Installation, open_installation
from sandlot_server.models import DEFAULT_TEAM
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings
from sandlot_server.store.memory import MemoryStore


def connect(installation: Installation, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(installation.create_app(), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)


@pytest.fixture
async def admin(installation: Installation) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(installation, **{"X-Admin-Token": installation.identity.admin_token}) as client:
        yield client


async def add_key(admin: httpx.AsyncClient, team: str, name: str = "ci") -> dict[str, str]:
    teams = {one["name"]: one["teamID"] for one in (await admin.get("/teams")).json()}
    if team not in teams:
        made = await admin.post("/_sandlot/teams", json={"name": team})
        assert made.status_code == 201, made.text
        teams[team] = made.json()["teamID"]
    answer = await admin.post("/api-keys", json={"name": name}, headers={"X-Team-ID": teams[team]})
    assert answer.status_code == 201, answer.text
    key: dict[str, str] = {**answer.json(), "teamID": teams[team]}
    return key


@pytest.fixture
async def other(installation: Installation, admin: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the team acme; `api` is one of the default team."""
    key = await add_key(admin, "acme")
    async with connect(installation, **{"X-API-KEY": key["key"]}) as client:
        yield client


async def create(client: httpx.AsyncClient, template: str = "base", **headers: str) -> str:
    made = await client.post("/v2/sandboxes", json={"templateID": template}, headers=headers)
    assert made.status_code == 201, made.text
    sandbox_id: str = made.json()["sandboxID"]
    return sandbox_id


async def list_ids(client: httpx.AsyncClient, path: str) -> set[str]:
    return {one["sandboxID"] for one in (await client.get(path)).json()}


async def test_a_key_is_shown_once_and_kept_as_a_digest(
    admin: httpx.AsyncClient, settings: Settings, installation: Installation
) -> None:
    made = await add_key(admin, "acme", "deploys")
    value = made["key"]
    [shown] = (await admin.get("/api-keys", headers={"X-Team-ID": made["teamID"]})).json()
    assert "key" not in shown
    assert (shown["name"], shown["lastUsed"], shown["createdBy"]) == ("deploys", None, None)
    mask = {"prefix": "e2b_", "valueLength": 40, "maskedValuePrefix": value[4:6], "maskedValueSuffix": value[-4:]}
    assert shown["mask"] == mask
    with sqlite3.connect(settings.database) as db:
        kept = "\n".join(db.iterdump())
    db.close()
    assert value[10:-4] not in kept
    assert "deploys" in kept


async def test_a_key_that_is_revoked_opens_nothing(admin: httpx.AsyncClient, installation: Installation) -> None:
    made = await add_key(admin, "acme")
    address = {"X-Team-ID": made["teamID"]}
    async with connect(installation, **{"X-API-KEY": made["key"]}) as client:
        assert (await client.get("/v2/sandboxes")).status_code == 200
        [used] = (await admin.get("/api-keys", headers=address)).json()
        assert used["lastUsed"] is not None
        renamed = await admin.patch(f"/api-keys/{made['id']}", json={"name": "old"}, headers=address)
        assert renamed.status_code == 202
        assert [one["name"] for one in (await admin.get("/api-keys", headers=address)).json()] == ["old"]
        assert (await admin.delete(f"/api-keys/{made['id']}", headers=address)).status_code == 204
        refused = await client.get("/v2/sandboxes")
        assert (refused.status_code, refused.json()["code"]) == (401, 401)
    assert (await admin.delete(f"/api-keys/{made['id']}", headers=address)).status_code == 404
    assert (await admin.get("/api-keys", headers=address)).json() == []


async def test_a_key_of_another_team_cannot_be_named(admin: httpx.AsyncClient) -> None:
    acme, rival = await add_key(admin, "acme"), await add_key(admin, "rival")
    address = {"X-Team-ID": rival["teamID"]}
    assert (await admin.delete(f"/api-keys/{acme['id']}", headers=address)).status_code == 404
    assert (await admin.patch(f"/api-keys/{acme['id']}", json={"name": "x"}, headers=address)).status_code == 404
    assert [one["id"] for one in (await admin.get("/api-keys", headers=address)).json()] == [rival["id"]]


async def test_teams_as_the_api_shows_them(admin: httpx.AsyncClient, installation: Installation) -> None:
    await add_key(admin, "acme")
    first, second = (await admin.get("/teams")).json()
    assert first == {
        "teamID": installation.identity.find_team_id("sandlot"),
        "name": "sandlot",
        "apiKey": installation.identity.api_key,
        "isDefault": True,
    }
    assert (second["name"], second["apiKey"], second["isDefault"]) == ("acme", "", False)


@pytest.mark.parametrize(
    ("name", "status"), [("", 400), ("a/b", 400), ("e2bdev", 400), ("sandlot", 409), ("x" * 64, 400)]
)
async def test_names_that_no_team_can_have(admin: httpx.AsyncClient, name: str, status: int) -> None:
    assert (await admin.post("/_sandlot/teams", json={"name": name})).status_code == status


async def test_what_takes_an_account_is_refused_by_name(api: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    for headers in ({}, {"X-Admin-Token": "no"}, {"Authorization": "Bearer x"}):
        for path in ("/teams", "/api-keys"):
            refused = await api.get(path, headers=headers)
            assert refused.status_code == 401
            assert "X-Admin-Token" in refused.json()["message"]
    assert (await admin.get("/api-keys")).status_code == 400
    assert (await admin.get("/api-keys", headers={"X-Team-ID": "none"})).status_code == 404
    assert (await admin.get("/v2/sandboxes")).status_code == 401


SANDBOX_ROUTES = [
    ("GET", "/sandboxes/{id}", None),
    ("DELETE", "/sandboxes/{id}", None),
    ("POST", "/sandboxes/{id}/connect", {"timeout": 60}),
    ("POST", "/v2/sandboxes/{id}/connect", {}),
    ("POST", "/sandboxes/{id}/resume", {}),
    ("POST", "/sandboxes/{id}/pause", {}),
    ("POST", "/sandboxes/{id}/timeout", {"timeout": 60}),
    ("PUT", "/sandboxes/{id}/network", {}),
    ("POST", "/sandboxes/{id}/refreshes", {}),
    ("POST", "/sandboxes/{id}/snapshots", {}),
    ("POST", "/sandboxes/{id}/fork", {}),
    ("GET", "/_sandlot/sandboxes/{id}/address", None),
    ("GET", "/sandboxes/{id}/metrics", None),
    ("GET", "/sandboxes/{id}/logs", None),
    ("GET", "/v2/sandboxes/{id}/logs", None),
]


@pytest.mark.parametrize(("method", "path", "body"), SANDBOX_ROUTES)
async def test_a_sandbox_of_another_team_does_not_exist(
    api: httpx.AsyncClient, other: httpx.AsyncClient, method: str, path: str, body: object
) -> None:
    sandbox_id = await create(api)
    url = path.replace("{id}", sandbox_id)
    refused = await other.request(method, url, json=body)
    unknown = await other.request(method, path.replace("{id}", "inobody"), json=body)
    assert (refused.status_code, unknown.status_code) == (404, 404)
    # As if it were not there: nothing in the answer tells the two apart.
    assert refused.text.replace(sandbox_id, "inobody") == unknown.text
    assert (await api.get(f"/sandboxes/{sandbox_id}")).json()["state"] == "running"


def test_every_route_of_a_sandbox_is_tried() -> None:
    """A route that comes later belongs in the list above."""
    tried = {path.replace("{id}", "{sandbox_id}") for _, path, _ in SANDBOX_ROUTES}
    modules = [
        importlib.import_module(f"sandlot_server.api.{one.name}")
        for one in pkgutil.iter_modules(routes_of_api.__path__)
    ]
    routes = [route for one in modules if one is not unbuilt and hasattr(one, "router") for route in one.router.routes]
    assert {route.path for route in routes if "{sandbox_id}" in route.path} == tried


async def test_lists_hold_what_is_ones_own(api: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    ours, theirs = await create(api), await create(other)
    for path in ("/sandboxes", "/v2/sandboxes"):
        assert await list_ids(api, path) == {ours}
        assert await list_ids(other, path) == {theirs}
    assert (await other.get("/v2/sandboxes")).headers["x-total-running"] == "1"


async def test_samples_and_logs_are_the_owners_after_the_end_too(
    api: httpx.AsyncClient, other: httpx.AsyncClient, installation: Installation
) -> None:
    sandbox_id = await create(api)
    query = {"sandbox_ids": sandbox_id}
    async with asyncio.timeout(10):
        while not (await api.get("/sandboxes/metrics", params=query)).json()["sandboxes"]:
            await installation.metrics.sample_due()
    assert (await other.get("/sandboxes/metrics", params=query)).json()["sandboxes"] == {}
    await api.delete(f"/sandboxes/{sandbox_id}")
    for path in ("metrics", "logs"):
        assert len((await api.get(f"/sandboxes/{sandbox_id}/{path}")).json()) > 0
        assert (await other.get(f"/sandboxes/{sandbox_id}/{path}")).status_code == 404


async def test_an_idempotency_key_is_a_teams_own(api: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "once"}
    ours, theirs = await create(api, **key), await create(other, **key)
    assert ours != theirs
    assert await create(api, **key) == ours


async def test_snapshots_are_a_teams_own(api: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    sandbox_id, theirs = await create(api), await create(other)
    ours = (await api.post(f"/sandboxes/{sandbox_id}/snapshots", json={"name": "state"})).json()
    assert ours["names"] == ["sandlot/state"]
    assert (await other.get("/snapshots")).json() == []
    assert (await other.get("/snapshots", params={"sandboxID": sandbox_id})).json() == []
    # The same name is another template, in a namespace of its own.
    same = (await other.post(f"/sandboxes/{theirs}/snapshots", json={"name": "state"})).json()
    assert same["names"] == ["acme/state"]
    assert [one["snapshotID"] for one in (await api.get("/snapshots")).json()] == ["sandlot/state:default"]
    refused = await other.post(f"/sandboxes/{theirs}/snapshots", json={"name": "sandlot/state"})
    assert (refused.status_code, refused.json()["message"]) == (400, "namespace 'sandlot' must match your team 'acme'")
    made = await create(other, "state")
    assert (await other.get(f"/sandboxes/{made}")).json()["alias"] == "state"
    assert (await other.post("/v2/sandboxes", json={"templateID": "sandlot/state"})).status_code == 403


async def test_a_private_template_is_not_open_to_another_team(
    api: httpx.AsyncClient, other: httpx.AsyncClient, installation: Installation
) -> None:
    sandbox_id = await create(api)
    await api.post(f"/sandboxes/{sandbox_id}/snapshots", json={"name": "tool"})
    template_id = installation.catalogue.find_id("tool", "sandlot")
    assert template_id is not None
    tries = [
        ("POST", "/v2/sandboxes", {"templateID": template_id}, 403),
        ("POST", "/v2/sandboxes", {"templateID": "tool"}, 404),
        ("GET", f"/templates/{template_id}", None, 403),
        ("GET", f"/templates/{template_id}/tags", None, 403),
        ("GET", f"/templates/aliases/{template_id}", None, 403),
        ("GET", "/templates/aliases/tool", None, 404),
        ("GET", "/templates/aliases/sandlot%2Ftool", None, 403),
        ("DELETE", f"/templates/{template_id}", None, 403),
        ("PATCH", f"/v2/templates/{template_id}", {"public": True}, 403),
        ("POST", "/templates/tags", {"target": template_id, "tags": ["v1"]}, 403),
        ("DELETE", "/templates/tags", {"name": template_id, "tags": ["v1"]}, 403),
        ("GET", f"/templates/{template_id}/files/{'0' * 64}", None, 404),
    ]
    for method, path, body, status in tries:
        answer = await other.request(method, path, json=body)
        assert (method, path, answer.status_code) == (method, path, status), answer.text
    for path in ("/templates", "/v2/templates"):
        assert {one["templateID"] for one in (await other.get(path)).json()} == {"base"}
    assert installation.catalogue.find(template_id) is not None
    # What is an id to one team is a name like any other to another.
    asked = (await other.post("/v3/templates", json={"name": template_id})).json()
    assert (asked["templateID"] == template_id, asked["names"]) == (False, [f"acme/{template_id}"])
    # Until it is published: then sandboxes may be made of it, and nothing else.
    assert (await api.patch(f"/v2/templates/{template_id}", json={"public": True})).status_code == 200
    await create(other, "sandlot/tool")
    assert (await other.delete(f"/templates/{template_id}")).status_code == 403
    assert (await other.get("/templates/aliases/sandlot%2Ftool")).json() == {"templateID": template_id, "public": True}


async def test_builds_of_another_team_cannot_be_followed_or_started(
    api: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    build = (await api.post("/v3/templates", json={"name": "mine"})).json()
    path = f"/templates/{build['templateID']}/builds/{build['buildID']}"
    assert (await api.get(f"{path}/status")).status_code == 200
    assert (await other.get(f"{path}/status")).status_code == 400
    assert (await other.get(f"{path}/logs")).status_code == 400
    started = await other.post(f"/v2{path}", json={"fromImage": "base", "steps": []})
    assert started.status_code == 404
    # The same name is another template.
    theirs = (await other.post("/v3/templates", json={"name": "mine"})).json()
    assert theirs["templateID"] != build["templateID"]
    assert (theirs["names"], theirs["aliases"]) == (["acme/mine"], ["mine"])
    assert (await other.get(f"/templates/{build['templateID']}/files/{'0' * 64}")).status_code == 404


async def test_files_uploaded_by_one_team_are_not_there_for_another(
    api: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    """Who knows the hash of a file must not get the file."""
    files_hash = "ab" * 32
    for client, present in ((api, False), (other, False), (api, True)):
        build = (await client.post("/v3/templates", json={"name": "mine"})).json()
        link = (await client.get(f"/templates/{build['templateID']}/files/{files_hash}")).json()
        assert link["present"] is present
        if client is api:
            assert (await client.put(link["url"], content=b"archive")).status_code == 200


async def test_events_are_told_to_the_owner_alone(tmp_path: Path) -> None:
    runtime = MemoryRuntime()
    async with run_server(Settings(home=tmp_path, port=0, tls_port=-1, pool_size=0), runtime=runtime) as server:
        await server.installation.teams.add_team("acme")
        _, key = await server.installation.teams.add_key("acme", "ci")
        async with (
            httpx.AsyncClient(base_url=server.url, headers={"X-API-KEY": key}, timeout=5) as theirs,
            httpx.AsyncClient(base_url=server.url, headers={"X-API-KEY": server.installation.identity.api_key}) as ours,
            theirs.stream("GET", "/_sandlot/events") as stream,
        ):
            await create(ours)
            own = await create(theirs)
            told = [line async for line in until(stream, "data: ")]
    assert [json.loads(line.removeprefix("data: "))["sandboxID"] for line in told] == [own]
    await runtime.destroy()


async def until(stream: httpx.Response, start: str) -> AsyncIterator[str]:
    """Yield the first line that begins so."""
    async for line in stream.aiter_lines():
        if line.startswith(start):
            yield line
            return


async def test_what_is_about_the_whole_installation(other: httpx.AsyncClient) -> None:
    assert (await other.get("/_sandlot/door")).status_code == 403
    assert (await other.get("/_sandlot/pool")).status_code == 403
    assert (await other.post("/_sandlot/templates", json=[])).status_code == 403


async def test_how_busy_a_team_is_shows_to_itself(
    api: httpx.AsyncClient, other: httpx.AsyncClient, installation: Installation
) -> None:
    for client in (api, other, other):
        await create(client)
    await installation.activity.note()
    for client, name, count in ((api, "sandlot", 1), (other, "acme", 2)):
        path = f"/teams/{installation.identity.find_team_id(name)}/metrics"
        [point] = (await client.get(path)).json()
        assert (point["concurrentSandboxes"], point["sandboxStartRate"]) == (count, count / 900)
        peak = await client.get(f"{path}/max", params={"metric": "concurrent_sandboxes"})
        assert peak.json()["value"] == count
        foreign = other if client is api else api
        assert (await foreign.get(path)).status_code == 403


async def test_the_last_use_of_a_key_is_saved_while_the_server_runs(settings: Settings, runtime: MemoryRuntime) -> None:
    store = MemoryStore()
    installation = open_installation(settings, runtime=runtime, store=store)
    async with installation.run():
        _, value = await installation.teams.add_key(DEFAULT_TEAM, "ci")
        async with connect(installation, **{"X-API-KEY": value}) as client:
            assert (await client.get("/sandboxes")).status_code == 200
        runtime.lose_watchers()  # the engine is back, so the sweep comes now
        async with asyncio.timeout(5):
            while (await store.load_keys())[0].last_used is None:
                await asyncio.sleep(0.01)


async def test_teams_keys_and_owners_outlive_the_server(settings: Settings, runtime: MemoryRuntime) -> None:
    installation = open_installation(settings, runtime=runtime)
    async with installation.run():
        await installation.teams.add_team("acme")
        made, value = await installation.teams.add_key("acme", "ci")
        async with connect(installation, **{"X-API-KEY": value}) as client:
            sandbox_id, gone = await create(client), await create(client)
            await client.delete(f"/sandboxes/{gone}")
            used = installation.teams.list_keys("acme")[0].last_used
            assert used is not None
    again = open_installation(settings, runtime=runtime)
    async with again.run():
        assert again.teams.list_keys("acme")[0].id == made.id
        assert again.teams.list_keys("acme")[0].last_used == used
        async with connect(again, **{"X-API-KEY": value}) as client:
            assert await list_ids(client, "/sandboxes") == {sandbox_id}
            assert (await client.get(f"/sandboxes/{gone}/logs")).status_code == 200
        async with connect(again, **{"X-API-KEY": again.identity.api_key}) as client:
            assert (await client.get(f"/sandboxes/{sandbox_id}")).status_code == 404
            assert (await client.get(f"/sandboxes/{gone}/logs")).status_code == 404
    await runtime.destroy()


def test_tokens_and_keys_are_files_of_ours_alone(installation: Installation, settings: Settings) -> None:
    for name in ("key", "admin", "secret"):
        assert (settings.home / name).stat().st_mode & 0o777 == 0o600
    identity = installation.identity
    assert len({identity.api_key, identity.admin_token, identity.secret}) == 3


def test_a_secret_that_lost_its_content_is_made_anew(tmp_path: Path) -> None:
    first = load_identity(tmp_path)
    for name in ("key", "admin", "secret"):
        (tmp_path / name).write_text("\n")
    second = load_identity(tmp_path)
    assert second.installation == first.installation
    for old, new in ((first.api_key, second.api_key), (first.admin_token, second.admin_token)):
        assert len(new) == len(old)
        assert new != old
    assert not second.accepts_key("")
    assert not second.accepts_admin("")
