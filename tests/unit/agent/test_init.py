"""/init and the small routes: what the control plane tells the agent, and who may."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandlot_protocol.http import CONTROL_ROUTES, ENVD_VERSION
from support.agent import Agent, RpcFailed, run_agent


async def test_init_needs_the_control_token(agent: Agent) -> None:
    for route in sorted(CONTROL_ROUTES):
        for token in ({}, {"X-Sandlot-Control": "wrong"}, {"X-Sandlot-Control": ""}):
            for method in ("GET", "POST"):
                answer = await agent.request(method, route, headers=token)
                assert answer.status in (401, 404, 405), (route, method)
    answer = await agent.control("POST", "/init", {})
    assert (answer.status, answer.headers["x-envd-version"]) == (204, ENVD_VERSION)


async def test_the_access_token_guards_everything_but_health(own_agent: Agent) -> None:
    await own_agent.init(accessToken="secret")
    for method, target in (("POST", "/process.Process/List"), ("GET", "/envs"), ("GET", "/metrics"), ("GET", "/x")):
        answer = await own_agent.request(method, target, b"{}", {"Content-Type": "application/json"})
        assert (answer.status, answer.json["code"]) == (401, 401)
        assert answer.json["message"].startswith("unauthorized access, please provide a valid access token or method")
    assert (await own_agent.request("GET", "/health")).status == 204
    own_agent.token = "secret"
    assert (await own_agent.run("true")).end["exitCode"] == 0
    own_agent.token = "sècret"
    assert (await own_agent.request("GET", "/envs")).status == 401
    own_agent.token = None
    await own_agent.init()
    assert (await own_agent.request("GET", "/envs")).status == 200


async def test_a_preflight_needs_no_token(own_agent: Agent) -> None:
    await own_agent.init(accessToken="secret")
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    assert (await own_agent.request("OPTIONS", "/process.Process/Start", headers=asked)).status == 204
    answer = await own_agent.request("GET", "/envs", headers={"Origin": "https://page.example"})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, "*")


@pytest.mark.usefixtures("_boxable")
async def test_health_is_everybodys_but_a_control_token_is_looked_at(agent: Agent) -> None:
    """Two containers at one address: the control plane must not take one for the other."""
    assert (await agent.request("GET", "/health")).status == 204
    assert (await agent.control("GET", "/health")).status == 204
    assert (await agent.request("GET", "/health", headers={"X-Sandlot-Control": "another's"})).status == 401


async def test_what_is_meant_for_another_sandbox_is_refused(own_agent: Agent) -> None:
    """Before /init it is nobody's: what came for a sandbox that had this address would end up in the next one."""

    async def ask(sandbox_id: str) -> int:
        return (await own_agent.request("GET", "/envs", headers={"E2b-Sandbox-Id": sandbox_id})).status

    assert await ask("isomeother") == 502
    await own_agent.init(sandboxID="imine", templateID="base")
    assert [await ask(one) for one in ("imine", "isomeother", "debug_sandbox_id")] == [200, 502, 200]
    assert (await own_agent.request("GET", "/envs")).status == 200


async def test_without_a_control_token_the_access_token_guards_itself() -> None:
    with run_agent(control_token=None) as agent:

        async def init(body: dict[str, Any]) -> int:
            return (await agent.request("POST", "/init", json.dumps(body).encode())).status

        assert await init({"accessToken": "first"}) == 204
        assert await init({}) == 401
        assert await init({"accessToken": "second"}) == 401
        assert await init({"accessToken": "first", "envVars": {"A": "1"}}) == 204


async def test_older_news_changes_nothing(own_agent: Agent) -> None:
    await own_agent.init(envVars={"A": "new"}, timestamp="2026-01-01T00:00:00.000000002Z")
    await own_agent.init(envVars={"A": "old"}, timestamp="2026-01-01T00:00:00.000000001Z")
    await own_agent.init(envVars={"A": "same"}, timestamp="2026-01-01T01:00:00.000000002+01:00")
    assert (await own_agent.request("GET", "/envs")).json["A"] == "new"
    await own_agent.init(envVars={"A": "newer"}, timestamp="2026-01-01T00:00:00.000000003Z")
    assert (await own_agent.request("GET", "/envs")).json["A"] == "newer"


async def test_env_vars_are_replaced_as_a_whole_and_kept_when_not_given(own_agent: Agent) -> None:
    await own_agent.init(envVars={"A": "1", "B": "2"}, sandboxID="sbx", templateID="tpl")
    await own_agent.init(envVars={"B": "3"})
    await own_agent.init(defaultWorkdir="/tmp")
    envs = (await own_agent.request("GET", "/envs")).json
    assert envs["B"] == "3"
    assert "A" not in envs
    assert (envs["E2B_SANDBOX_ID"], envs["E2B_TEMPLATE_ID"]) == ("sbx", "tpl")
    assert (await own_agent.run("pwd")).stdout == b"/tmp\n"
    assert (await own_agent.run("pwd", cwd="sub/..")).stdout == b"/root\n"


async def test_programs_find_out_where_they_are(own_agent: Agent) -> None:
    await own_agent.init(sandboxID="sbx", templateID="tpl")
    script = "cd /run/e2b; for f in .E2B*; do echo $f $(cat $f) $(stat -c %a $f); done"
    done = await own_agent.run("sh", "-c", script)
    assert done.stdout == b".E2B_SANDBOX true 444\n.E2B_SANDBOX_ID sbx 444\n.E2B_TEMPLATE_ID tpl 444\n"
    await own_agent.init(sandboxID="fork", templateID="tpl")
    assert (await own_agent.run("cat", "/run/e2b/.E2B_SANDBOX_ID")).stdout == b"fork"


async def test_the_files_do_not_follow_links_that_somebody_put_there(own_agent: Agent) -> None:
    await own_agent.run(
        "sh", "-c", "mkdir /run/e2b; echo keep > /run/victim; ln -s /run/victim /run/e2b/.E2B_SANDBOX_ID"
    )
    await own_agent.init(sandboxID="sbx")
    assert (await own_agent.run("cat", "/run/victim")).stdout == b"keep\n"


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"volumeMounts": [{"nfs_target": "x", "path": "/y"}]}, 501, "volumeMounts"),
        ({"caBundle": "-----BEGIN"}, 400, "caBundle"),
        ({"hyperloopIP": "1.2.3.4"}, 501, "hyperloopIP"),
        ({"somethingNew": 1}, 400, "somethingNew"),
        ({"envVars": []}, 400, "envVars"),
        ({"envVars": {"A": 1}}, 400, "A"),
        ({"envVars": {"A=B": "1"}}, 400, "envVars"),
        ({"accessToken": 5}, 400, "accessToken"),
        ({"timestamp": "yesterday"}, 400, "yesterday"),
        ({"defaultUser": "a\0b"}, 400, "defaultUser"),
    ],
)
async def test_what_cannot_be_taken_over_is_named(agent: Agent, body: dict[str, Any], status: int, named: str) -> None:
    answer = await agent.control("POST", "/init", body)
    assert answer.status == status
    assert named in answer.json["message"]


async def test_bodies_that_are_no_json_object(agent: Agent) -> None:
    for body in (b"{", b"[]", b"1", b"\xff"):
        answer = await agent.request("POST", "/init", body, {"X-Sandlot-Control": "control-token-of-the-tests"})
        assert answer.status == 400


async def test_the_default_user_is_used(own_agent: Agent) -> None:
    await own_agent.init(defaultUser="user")
    assert (await own_agent.run("id", "-un")).stdout == b"user\n"
    with pytest.raises(RpcFailed):
        await own_agent.run("true", headers={"Authorization": "Basic Og=="})  # an empty name is no user either


async def test_routes_for_machinery_that_is_not_here(agent: Agent) -> None:
    for route in ("/collapse", "/fsfreeze", "/fsthaw", "/upgrade"):
        answer = await agent.control("POST", route)
        assert (answer.status, answer.json["code"]) == (501, 501)
