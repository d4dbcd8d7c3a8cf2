"""The sandbox routes as the SDKs use them, over the memory runtime."""

from __future__ import annotations

import asyncio
import re
import time
from urllib.parse import quote, urlencode

import httpx
import pytest

from sandlot_server.installation import Installation
from sandlot_server.runtime.memory import MemoryRuntime


async def create(api: httpx.AsyncClient, **fields: object) -> dict[str, str]:
    response = await api.post("/v2/sandboxes", json={"templateID": "base", **fields})
    assert response.status_code == 201, response.text
    made: dict[str, str] = response.json()
    return made


def test_ids_are_random(installation: Installation) -> None:
    assert re.fullmatch("[0-9a-f]{12}", installation.identity.installation)
    assert re.fullmatch("e2b_[0-9a-f]{40}", installation.identity.api_key)


async def test_create_answers_what_the_sdk_needs(api: httpx.AsyncClient, installation: Installation) -> None:
    made = await create(api, metadata={}, envVars={})
    assert re.fullmatch("i[a-z0-9]{20}", made["sandboxID"])
    assert made["templateID"] == "base"
    assert made["alias"] == "base"
    assert made["envdAccessToken"] == installation.identity.envd_token(made["sandboxID"])
    assert made["domain"] is None
    assert "trafficAccessToken" not in made


async def test_create_tells_the_agent(
    api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime
) -> None:
    made = await create(api, envVars={"A": "1"})
    entry = installation.registry.get(made["sandboxID"])
    assert entry is not None
    [init] = runtime.agent(entry.sandbox.container).inits
    assert init["sandboxID"] == made["sandboxID"]
    assert init["envVars"] == {"A": "1"}
    assert init["accessToken"] == made["envdAccessToken"]
    assert init["bootID"] == entry.sandbox.boot_id


async def test_v1_is_open_unless_secure(api: httpx.AsyncClient) -> None:
    opened = await api.post("/sandboxes", json={"templateID": "base"})
    secured = await api.post("/sandboxes", json={"templateID": "base", "secure": True})
    assert "envdAccessToken" not in opened.json()
    assert "envdAccessToken" in secured.json()


async def test_default_timeouts(api: httpx.AsyncClient, installation: Installation) -> None:
    for path, timeout_s in (("/sandboxes", 15), ("/v2/sandboxes", 300)):
        made = (await api.post(path, json={"templateID": "base"})).json()
        sandbox = installation.service.get(made["sandboxID"])
        assert (sandbox.end_at - sandbox.started_at).total_seconds() == timeout_s


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"templateID": "nothing"}, 404, "template 'nothing' not found"),
        ({"templateID": "base:v9"}, 404, "tag 'v9' does not exist for template 'base'"),
        ({"templateID": "e2bdev/none"}, 404, "template 'e2bdev/none' not found"),
        ({"templateID": "base", "timeout": 0}, 400, "Timeout must be greater than 0"),
        ({"templateID": "base", "timeout": 24 * 3600 + 1}, 400, "Timeout cannot be greater than 24 hours"),
        ({"templateID": "base", "unheard": 1}, 400, "field 'unheard' is not supported"),
        ({"templateID": "base", "volumeMounts": [{"name": "v", "path": "/v"}]}, 400, "'volumeMounts' is not supp"),
        (
            {"templateID": "base", "network": {"egressProxy": {"address": "a:1"}}},
            400,
            "'network.egressProxy': it is not s",
        ),
        ({"templateID": "base", "network": {"rules": {"a.example": []}}}, 400, "'network.rules': it is not supported"),
        ({"templateID": "base", "network": {"denyOut": ["a.example"]}}, 400, "invalid denied CIDR a.example"),
        ({"templateID": "base", "network": {"denyOut": ["0.0.0.0"]}}, 400, "invalid denied CIDR 0.0.0.0"),
        ({"templateID": "base", "network": {"allowOut": ["0.0.0.0"]}}, 400, "invalid allowed address 0.0.0.0"),
        (
            {"templateID": "base", "network": {"allowOut": ["a.example"]}},
            400,
            "When specifying allowed domains in allow",
        ),
        (
            {"templateID": "base", "network": {"dnsServers": ["127.0.0.1"]}},
            400,
            "invalid DNS server 127.0.0.1: the addr",
        ),
        ({"templateID": "base", "timeout": "9"}, 400, "field 'timeout'"),
        ({"templateID": "base", "autoPauseMemory": False}, 400, "autoPauseMemory=false only applies when autoPause"),
        ({"templateID": "base", "envVars": {"A=B": ""}}, 400, "'A=B' cannot be an environment variable"),
        ({}, 400, "field 'templateID'"),
        ([], 400, "Error when parsing request"),
    ],
)
async def test_create_refuses(api: httpx.AsyncClient, body: object, status: int, message: str) -> None:
    response = await api.post("/v2/sandboxes", json=body)
    assert response.status_code == status
    assert response.json()["code"] == status
    assert message in response.json()["message"]


async def test_base_has_its_other_names(api: httpx.AsyncClient) -> None:
    for name in ("e2bdev/base", "base:default", " Base "):
        assert (await create(api, templateID=name))["templateID"] == "base"


async def test_malformed_and_huge_bodies(api: httpx.AsyncClient) -> None:
    malformed = await api.post("/v2/sandboxes", content=b'{"templateID": ')
    assert malformed.status_code == malformed.json()["code"] == 400
    huge = await api.post("/v2/sandboxes", content=b" " * (9 * 1024 * 1024))
    assert huge.status_code == huge.json()["code"] == 413


async def test_get_shows_everything(api: httpx.AsyncClient) -> None:
    made = await create(api, metadata={"a": "b"}, autoPause=True)
    shown = (await api.get(f"/sandboxes/{made['sandboxID']}")).json()
    assert shown["state"] == "running"
    assert shown["metadata"] == {"a": "b"}
    assert shown["lifecycle"] == {"autoResume": False, "onTimeout": "pause"}
    assert shown["envdAccessToken"] == made["envdAccessToken"]
    assert shown["startedAt"].endswith("Z")


async def test_composite_ids_are_cut(api: httpx.AsyncClient) -> None:
    made = await create(api)
    assert (await api.get(f"/sandboxes/{made['sandboxID']}-{made['clientID']}")).status_code == 200


@pytest.mark.parametrize("sandbox_id", ["NOPE", "a-b-c", "%2e%2e", "a%2Fb"])
async def test_ids_that_cannot_be(api: httpx.AsyncClient, sandbox_id: str) -> None:
    response = await api.get(f"/sandboxes/{sandbox_id}")
    assert (response.status_code, response.json()["message"]) == (400, "Invalid sandbox ID")


async def test_kill_twice(api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime) -> None:
    path = f"/sandboxes/{(await create(api))['sandboxID']}"
    assert (await api.delete(path)).status_code == 204
    again = await api.delete(path)
    assert (again.status_code, again.json()["code"]) == (404, 404)
    assert "doesn't exist or you don't have access to it" in again.json()["message"]
    assert (await api.get(path)).status_code == 404
    await installation.tasks.finish(5)
    assert await runtime.list_containers() == []
    assert await installation.store.load_sandboxes() == []


async def test_unknown_sandbox_everywhere(api: httpx.AsyncClient) -> None:
    for method, path, body in [
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/connect", {"timeout": 5}),
        ("POST", "/resume", None),
        ("POST", "/pause", None),
        ("POST", "/timeout", {"timeout": 5}),
        ("POST", "/refreshes", None),
    ]:
        response = await api.request(method, f"/sandboxes/iunknown{path}", json=body)
        assert response.status_code == 404, path
        assert response.json()["code"] == 404


async def test_connect_only_extends(api: httpx.AsyncClient, installation: Installation) -> None:
    sandbox_id = (await create(api, timeout=1000))["sandboxID"]
    before = installation.service.get(sandbox_id).end_at
    response = await api.post(f"/v2/sandboxes/{sandbox_id}/connect", json={})
    assert response.status_code == 200
    assert installation.service.get(sandbox_id).end_at == before
    await api.post(f"/sandboxes/{sandbox_id}/connect", json={"timeout": 2000})
    assert (installation.service.get(sandbox_id).end_at - before).total_seconds() > 900


async def test_v1_connect_wants_a_timeout(api: httpx.AsyncClient) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    assert (await api.post(f"/sandboxes/{sandbox_id}/connect", json={})).status_code == 400


async def test_timeout_is_kept(api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime) -> None:
    sandbox_id = (await create(api, timeout=1))["sandboxID"]
    began = time.monotonic()
    while (await api.get(f"/sandboxes/{sandbox_id}")).status_code == 200:
        assert time.monotonic() - began < 2
        await asyncio.sleep(0.02)
    assert time.monotonic() - began > 0.8


async def test_timeout_zero_ends_at_once(api: httpx.AsyncClient) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    assert (await api.post(f"/sandboxes/{sandbox_id}/timeout", json={"timeout": 0})).status_code == 204
    deadline = time.monotonic() + 1
    while (await api.get(f"/sandboxes/{sandbox_id}")).status_code == 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_timeouts_never_go_beyond_the_longest_life(api: httpx.AsyncClient, installation: Installation) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    await api.post(f"/sandboxes/{sandbox_id}/timeout", json={"timeout": 10**9})
    sandbox = installation.service.get(sandbox_id)
    assert (sandbox.end_at - sandbox.started_at).total_seconds() == 24 * 3600


async def test_pause_and_resume(api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    container = installation.service.get(sandbox_id).container
    assert (await api.post(f"/sandboxes/{sandbox_id}/pause")).status_code == 204
    again = await api.post(f"/sandboxes/{sandbox_id}/pause", json={})
    assert (again.status_code, "is already paused" in again.json()["message"]) == (409, True)
    assert (await api.get(f"/sandboxes/{sandbox_id}")).json()["state"] == "paused"
    assert installation.directory.find(sandbox_id) is None
    assert (await api.post(f"/sandboxes/{sandbox_id}/timeout", json={"timeout": 9})).status_code == 404
    assert (await api.post(f"/v2/sandboxes/{sandbox_id}/connect", json={})).status_code == 201
    assert runtime.agent(container).calls[-2:] == ["POST /freeze", "POST /unfreeze"]
    assert (await api.post(f"/sandboxes/{sandbox_id}/resume")).status_code == 409
    assert installation.directory.find(sandbox_id) is not None


async def test_pause_without_memory_boots_afresh(api: httpx.AsyncClient, installation: Installation) -> None:
    sandbox_id = (await create(api))["sandboxID"]
    boot_id = installation.service.get(sandbox_id).boot_id
    assert (await api.post(f"/sandboxes/{sandbox_id}/pause", json={"memory": False})).status_code == 204
    assert (await api.get(f"/sandboxes/{sandbox_id}")).json()["pauseMode"] == "filesystem"
    assert (await api.post(f"/sandboxes/{sandbox_id}/resume", json={"timeout": 30})).status_code == 201
    assert installation.service.get(sandbox_id).boot_id != boot_id


async def test_pause_at_the_end(api: httpx.AsyncClient, installation: Installation) -> None:
    sandbox_id = (await create(api, timeout=1, autoPause=True))["sandboxID"]
    deadline = time.monotonic() + 3
    while (await api.get(f"/sandboxes/{sandbox_id}")).json()["state"] != "paused":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert (await api.delete(f"/sandboxes/{sandbox_id}")).status_code == 204


async def test_wrong_keys(api: httpx.AsyncClient) -> None:
    for headers in ({"X-API-KEY": "e2b_wrong"}, {"X-API-KEY": ""}, {"X-API-KEY": "\u00e4".encode("latin-1")}):
        response = await api.get("/v2/sandboxes", headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, 401)
        assert response.json()["message"].startswith("Invalid API key")
    del api.headers["X-API-KEY"]
    assert (await api.get("/sandboxes/iunknown")).status_code == 401
    assert (await api.get("/health")).status_code == 204


async def test_unknown_routes_and_unbuilt_features(api: httpx.AsyncClient) -> None:
    nowhere = await api.get("/nowhere")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, 404)
    assert (await api.put("/v2/sandboxes")).json()["code"] == 405
    volumes = await api.post("/volumes", json={"name": "x"})
    assert volumes.status_code == 501
    assert volumes.headers["should-retry"] == "false"
    assert "the volume API" in volumes.json()["message"]
    assert (await api.get("/default-templates")).status_code == 501
    assert (await api.post("/templates", json={})).status_code == 501


async def test_browsers_may_call(api: httpx.AsyncClient) -> None:
    asked = {"Origin": "http://x", "Access-Control-Request-Method": "POST"}
    preflight = await api.options("/v2/sandboxes", headers={**asked, "Access-Control-Request-Headers": "x-api-key"})
    assert preflight.status_code == 200
    listed = await api.get("/v2/sandboxes", headers={"Origin": "http://x"})
    assert listed.headers["access-control-allow-origin"] == "*"
    assert "X-Next-Token" in listed.headers["access-control-expose-headers"]


async def test_list_pages_and_filters(api: httpx.AsyncClient) -> None:
    odd = {"a b": "c&d=e", "ü": "/"}
    ids = [(await create(api, metadata=odd if n == 1 else {"n": str(n)}))["sandboxID"] for n in range(3)]
    await api.post(f"/sandboxes/{ids[0]}/pause")

    async def listed(**query: str) -> list[str]:
        return [one["sandboxID"] for one in (await api.get("/v2/sandboxes", params=query)).json()]

    assert await listed() == ids[::-1]
    assert await listed(order="asc") == ids
    assert await listed(state="paused") == ids[:1]
    assert await listed(state="running,paused") == ids[::-1]
    assert await listed(template="e2bdev/base") == ids[::-1]
    assert await listed(template="none") == []
    twice = "&".join(f"{quote(key)}={quote(value)}" for key, value in odd.items())
    assert await listed(metadata=quote(twice)) == [ids[1]]
    assert await listed(metadata=urlencode({quote("n"): quote("2")})) == [ids[2]]
    middle = (await api.get(f"/sandboxes/{ids[1]}")).json()["startedAt"]
    assert await listed(startedAfter=middle) == ids[:0:-1]
    assert [one["sandboxID"] for one in (await api.get("/sandboxes")).json()] == ids[:0:-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_list_goes_through_all_pages(api: httpx.AsyncClient, order: str) -> None:
    ids = [(await create(api))["sandboxID"] for _ in range(5)]
    seen: list[str] = []
    query = {"limit": "2", "order": order}
    while True:
        response = await api.get("/v2/sandboxes", params=query)
        assert response.headers["x-total-running"] == "5"
        seen += [one["sandboxID"] for one in response.json()]
        if "x-next-token" not in response.headers:
            break
        query["nextToken"] = response.headers["x-next-token"]
    assert seen == (ids if order == "asc" else ids[::-1])
    query["order"] = "desc" if order == "asc" else "asc"
    assert (await api.get("/v2/sandboxes", params=query)).json()["message"] == "Invalid next token"


@pytest.mark.parametrize(
    "query",
    [
        {"nextToken": "x"},
        {"nextToken": "bm9uZQ=="},
        {"metadata": "a"},
        {"metadata": "a=b=c"},
        {"state": "dead"},
        {"order": "up"},
        {"limit": "0"},
        {"limit": "x"},
        {"startedAfter": "yesterday"},
        {"template": "base:tag"},
    ],
)
async def test_list_refuses(api: httpx.AsyncClient, query: dict[str, str]) -> None:
    response = await api.get("/v2/sandboxes", params=query)
    assert (response.status_code, response.json()["code"]) == (400, 400)


async def test_capacity(api: httpx.AsyncClient, installation: Installation) -> None:
    object.__setattr__(installation.settings, "max_sandboxes", 1)
    sandbox_id = (await create(api))["sandboxID"]
    refused = await api.post("/v2/sandboxes", json={"templateID": "base"})
    assert (refused.status_code, refused.json()["code"]) == (429, 429)
    await api.post(f"/sandboxes/{sandbox_id}/pause")
    await create(api)
    assert (await api.post(f"/sandboxes/{sandbox_id}/resume")).status_code == 429
