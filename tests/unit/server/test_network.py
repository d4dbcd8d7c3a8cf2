"""The network of sandboxes through the API, before a runtime that notes what it is told."""

from __future__ import annotations

import httpx

from sandlot_server.border.policy import EVERYTHING, Policy
from sandlot_server.errors import IsolationFailed
from sandlot_server.installation import Installation, open_installation
from sandlot_server.models import Egress
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings

CLOSED = {"denyOut": ["0.0.0.0/0"], "allowOut": ["a.example"]}
POLICY = Policy(denied=(EVERYTHING,), domains=("a.example",))


async def create(api: httpx.AsyncClient, **body: object) -> str:
    response = await api.post("/v2/sandboxes", json={"templateID": "base", **body})
    assert response.status_code == 201, response.text
    made: str = response.json()["sandboxID"]
    return made


def list_policies(installation: Installation, runtime: MemoryRuntime) -> list[Policy | None]:
    return [runtime.policies.get(sandbox.container) for sandbox in installation.service.list()]


async def test_what_was_asked_for_is_told(api: httpx.AsyncClient) -> None:
    sandbox = await create(api, network=CLOSED | {"dnsServers": ["198.51.100.1"]}, allow_internet_access=False)
    told = (await api.get(f"/sandboxes/{sandbox}")).json()
    asked = CLOSED | {"dnsServers": ["198.51.100.1"]}
    assert {name: told["network"][name] for name in asked} == asked
    assert told["allowInternetAccess"] is False
    told = (await api.get(f"/sandboxes/{await create(api)}")).json()
    assert "network" not in told
    assert "allowInternetAccess" not in told


async def test_an_update_replaces_everything(
    api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime
) -> None:
    sandbox = await create(api, network=CLOSED)
    assert list_policies(installation, runtime) == [POLICY]
    response = await api.put(f"/sandboxes/{sandbox}/network", json={"allow_internet_access": False})
    assert response.status_code == 204
    assert list_policies(installation, runtime) == [Policy(denied=(EVERYTHING,))]
    assert (await api.put(f"/sandboxes/{sandbox}/network", json={})).status_code == 204
    assert list_policies(installation, runtime) == [None]


async def test_an_update_that_is_refused_changes_nothing(
    api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime
) -> None:
    sandbox = await create(api, network=CLOSED)
    for body, field in (
        ({"denyOut": ["a.example"]}, "denied CIDR"),
        ({"rules": {"a.b": []}}, "rules"),
        ({"x": 1}, "x"),
    ):
        response = await api.put(f"/sandboxes/{sandbox}/network", json=body)
        assert response.status_code == 400
        assert field in response.json()["message"]
    assert list_policies(installation, runtime) == [POLICY]


async def test_only_a_running_sandbox_can_be_updated(api: httpx.AsyncClient) -> None:
    assert (await api.put("/sandboxes/iunknown/network", json={})).status_code == 404
    sandbox = await create(api)
    await api.post(f"/sandboxes/{sandbox}/pause")
    assert (await api.put(f"/sandboxes/{sandbox}/network", json={})).status_code == 404


def refuse_to_confine(operation: str, name: str) -> None:
    if operation == "confine":
        raise IsolationFailed("nft failed")


async def test_a_policy_that_cannot_be_made_to_hold(
    api: httpx.AsyncClient, installation: Installation, runtime: MemoryRuntime
) -> None:
    sandbox = await create(api, network=CLOSED)
    runtime.before = refuse_to_confine
    response = await api.put(f"/sandboxes/{sandbox}/network", json={})
    assert response.status_code == 500
    assert installation.service.get(sandbox).spec.egress == Egress(("a.example",), ("0.0.0.0/0",))
    response = await api.post("/v2/sandboxes", json={"templateID": "base", "network": CLOSED})
    assert response.status_code == 500
    assert len(installation.service.list()) == 1


async def test_the_next_server_makes_it_hold_again(settings: Settings, runtime: MemoryRuntime) -> None:
    first = open_installation(settings, runtime=runtime)
    async with first.run():
        transport = httpx.ASGITransport(first.create_app())
        headers = {"X-API-KEY": first.identity.api_key}
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as api:
            await create(api, network=CLOSED)
    runtime.policies.clear()
    second = open_installation(settings, runtime=runtime)
    async with second.run():
        assert list_policies(second, runtime) == [POLICY]
    await runtime.destroy()
