"""The sandbox object against a server that answers as it is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sandlot import (
    AsyncSandbox,
    AuthenticationException,
    CommandExitException,
    GuestUnresponsiveException,
    InvalidArgumentException,
    NotFoundException,
    RateLimitException,
    SandboxException,
    SandboxNotFoundException,
    SandboxQuery,
    SandboxState,
    ServiceBusyException,
    TemplateException,
)
from support.fake_server import END, SANDBOX, FakeServer, reply, stream

ONE = "/sandboxes/isandbox"
INFO = {
    "sandboxID": "isandbox",
    "templateID": "t1",
    "alias": "base",
    "startedAt": "2026-01-02T03:04:05.123456789Z",
    "endAt": "2026-01-02T03:09:05Z",
    "state": "running",
    "cpuCount": 2,
    "memoryMB": 512,
    "envdVersion": "0.6.13",
    "metadata": {"a": "b"},
    "lifecycle": {"onTimeout": "kill", "autoResume": False},
    "network": {"allowOut": ["1.1.1.1"], "egressProxy": {"address": "p:1", "tls": {"enabled": True}}},
}


async def test_create_says_only_what_was_chosen(server: FakeServer) -> None:
    sandbox = await AsyncSandbox.create(**server.opts)
    request = server.last("/v2/sandboxes")
    assert request.json == {"templateID": "base", "metadata": {}, "envVars": {}}
    assert request.headers["x-api-key"] == server.opts["api_key"]
    assert request.headers["user-agent"].startswith("sandlot-python/")
    assert sandbox.sandbox_id == "isandbox"
    assert sandbox.traffic_access_token is None


async def test_create_passes_every_option_on(server: FakeServer) -> None:
    await AsyncSandbox.create(
        "mine",
        timeout=7,
        metadata={"k": "v"},
        envs={"E": "1"},
        allow_internet_access=False,
        network={
            "allow_out": lambda ctx: list(ctx.rules),
            "deny_out": lambda ctx: [ctx.all_traffic],
            "rules": {"a.example": [{"transform": lambda ctx: {"headers": {"T": ctx.iam.tokens["aws"]}}}]},
            "egress_proxy": {"address": "proxy:1080", "username": "u", "tls": {"server_name": "s"}},
            "https_ports": [443],
            "allow_public_traffic": False,
        },
        iam={"tokens": {"aws": {"audience": "sts", "token_type": "JWT-SVID"}}},
        lifecycle={"on_timeout": {"action": "pause", "mode": "full"}, "auto_resume": True},
        volume_mounts={"/data": "disk"},
        idempotency_key="key-1",
        **server.opts,
    )
    request = server.last("/v2/sandboxes")
    assert request.headers["idempotency-key"] == "key-1"
    assert request.json == {
        "templateID": "mine",
        "timeout": 7,
        "metadata": {"k": "v"},
        "envVars": {"E": "1"},
        "allow_internet_access": False,
        "network": {
            "allowOut": ["a.example"],
            "denyOut": ["0.0.0.0/0"],
            "rules": {"a.example": [{"transform": {"headers": {"T": "${e2b.identity.tokens.aws}"}}}]},
            "egressProxy": {"address": "proxy:1080", "username": "u", "tls": {"enabled": True, "serverName": "s"}},
            "httpsPorts": [443],
            "allowPublicTraffic": False,
        },
        "iam": {"tokens": {"aws": {"audience": "sts", "tokenType": "JWT-SVID"}}},
        "autoPause": True,
        "autoPauseMemory": True,
        "autoResume": {"enabled": True},
        "volumeMounts": [{"name": "disk", "path": "/data"}],
    }


async def test_an_unsecured_sandbox_is_asked_for_where_the_api_can_make_one(server: FakeServer) -> None:
    server.on("POST", "/sandboxes", reply(201, {**SANDBOX, "envdAccessToken": None}))
    sandbox = await AsyncSandbox.create(secure=False, **server.opts)
    body = server.last("/sandboxes").json
    assert (body["secure"], body["timeout"]) == (False, 300)
    assert sandbox.download_url("a") == f"http://49983-isandbox.e2b.localhost:{server.port}/files?path=a"
    with pytest.raises(InvalidArgumentException, match="secured"):
        sandbox.download_url("a", use_signature_expiration=10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lifecycle": {"on_timeout": "freeze"}}, "on_timeout"),
        ({"lifecycle": {"on_timeout": {"action": "kill", "mode": "full"}}}, "mode"),
        ({"lifecycle": {"on_timeout": "kill", "auto_resume": True}}, "auto_resume"),
        ({"lifecycle": {"on_timeout": {"action": "pause", "mode": "filesystem"}, "auto_resume": True}}, "auto_resume"),
        ({"network": {"allow_outt": []}}, "allow_outt"),
        ({"network": {"egress_proxy": {}}}, "address"),
        ({"network": {"rules": {"a": [{"transform": lambda ctx: {"headers": {"T": ctx.iam.tokens["x"]}}}]}}}, "'x'"),
        ({"network": {"rules": {"a": [{"transform": lambda ctx: None}]}}}, "dict"),
        ({"iam": {"tokens": {"a": {"audience": "b"}}}}, "token_type"),
        ({"idempotency_key": "No!"}, "idempotency_key"),
        ({"retries": -1}, "retries"),
        ({"http_version": "2"}, "http_version"),
        ({"api_url": "localhost"}, "URL"),
        ({"proxy": "socks5://a:1"}, "proxy"),
        ({"headers": {"A": "b\r\nc"}}, "line break"),
    ],
)
async def test_what_cannot_be_meant_is_refused_by_name(server: FakeServer, options: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentException, match=message):
        await AsyncSandbox.create(**{**server.opts, **options})
    assert not server.requests


async def test_an_option_that_does_not_exist_is_refused(server: FakeServer) -> None:
    with pytest.raises(TypeError, match="tiemout"):
        await AsyncSandbox.create(tiemout=3, **server.opts)


async def test_a_template_with_too_old_an_agent(server: FakeServer) -> None:
    server.on("POST", "/v2/sandboxes", reply(201, {**SANDBOX, "envdVersion": "0.0.9"}))
    server.on("DELETE", ONE, reply(204))
    with pytest.raises(TemplateException):
        await AsyncSandbox.create(**server.opts)
    assert server.count(ONE) == 1


async def test_requests_to_the_sandbox_name_it_and_keep_the_key_back(server: FakeServer) -> None:
    sandbox = await AsyncSandbox.create(api_headers={"X-Own": "1"}, **server.opts)
    assert await sandbox.is_running()
    headers = server.last("/health").headers
    assert headers["e2b-sandbox-id"] == "isandbox"
    assert headers["e2b-sandbox-port"] == "49983"
    assert headers["x-access-token"] == "token"
    assert "x-api-key" not in headers
    assert "x-own" not in headers
    assert server.last("/v2/sandboxes").headers["x-own"] == "1"


async def test_one_connection_serves_the_api_and_the_sandbox(server: FakeServer) -> None:
    sandbox = await AsyncSandbox.create(**server.opts)
    for _ in range(3):
        await sandbox.is_running()
    assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"code": 401, "message": "no"}, AuthenticationException),
        (429, {"code": 429, "message": "slow"}, RateLimitException),
        (503, {"code": 503, "message": "full"}, ServiceBusyException),
        (404, {"code": 404, "message": "template 'x' not found"}, SandboxException),
        (400, {"code": 400, "message": "bad"}, SandboxException),
        (500, b"<html>oops", SandboxException),
        (409, {"message": "stuck", "error_code": GuestUnresponsiveException.code}, GuestUnresponsiveException),
    ],
)
async def test_refusals(server: FakeServer, status: int, body: Any, expected: type[Exception]) -> None:
    server.on("POST", "/v2/sandboxes", reply(status, body, Should_Retry="false"))
    with pytest.raises(expected) as caught:
        await AsyncSandbox.create(**server.opts)
    text = body.decode() if isinstance(body, bytes) else body["message"]
    assert text in str(caught.value)
    assert server.count("/v2/sandboxes") == 1
    if isinstance(caught.value, SandboxException):
        assert caught.value.status_code == status


async def test_methods_take_the_object_or_the_id(server: FakeServer) -> None:
    server.on("DELETE", ONE, reply(204)).on("GET", ONE, reply(200, INFO)).on("POST", ONE + "/timeout", reply(204))
    sandbox = await AsyncSandbox.create(**server.opts)
    assert await sandbox.kill()
    assert await AsyncSandbox.kill("isandbox", **server.opts)
    assert await AsyncSandbox.kill(sandbox)
    assert (await sandbox.get_info()).sandbox_id == "isandbox"
    assert (await AsyncSandbox.get_info("isandbox", **server.opts)).sandbox_id == "isandbox"
    await sandbox.set_timeout(0)
    await AsyncSandbox.set_timeout("isandbox", 5, **server.opts)
    assert server.last(ONE + "/timeout").json == {"timeout": 5}


async def test_a_sandbox_that_is_not_there(server: FakeServer) -> None:
    gone = reply(404, {"code": 404, "message": "Sandbox gone"})
    server.on("DELETE", ONE, gone).on("GET", ONE, gone).on("POST", "/v2/sandboxes/isandbox/connect", gone)
    assert await AsyncSandbox.kill("isandbox", **server.opts) is False
    with pytest.raises(SandboxNotFoundException, match="Sandbox gone"):
        await AsyncSandbox.get_info("isandbox", **server.opts)
    with pytest.raises(SandboxNotFoundException):
        await AsyncSandbox.connect("isandbox", **server.opts)


async def test_an_id_cannot_break_out_of_its_route(server: FakeServer) -> None:
    await AsyncSandbox.kill("../teams?x=1#y", **server.opts)
    assert server.requests[-1].target == "/sandboxes/..%2Fteams%3Fx%3D1%23y"


async def test_info(server: FakeServer) -> None:
    server.on("GET", ONE, reply(200, INFO))
    info = await AsyncSandbox.get_info("isandbox", **server.opts)
    assert info.started_at == datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)
    assert (info.name, info.state, info.metadata) == ("base", SandboxState.RUNNING, {"a": "b"})
    assert info.lifecycle == {"on_timeout": "kill", "auto_resume": False}
    assert info.network == {"allow_out": ["1.1.1.1"], "egress_proxy": {"address": "p:1", "tls": {}}}


async def test_metrics(server: FakeServer) -> None:
    names = ("cpuCount", "cpuUsedPct", "diskUsed", "diskTotal", "memUsed", "memTotal", "memCache", "timestampUnix")
    metric = {**dict.fromkeys(names, 1), "timestamp": "2026-01-02T03:04:05Z"}
    server.on("GET", ONE + "/metrics", reply(200, [metric]))
    sandbox = await AsyncSandbox.create(**server.opts)
    (one,) = await sandbox.get_metrics(start=datetime.fromtimestamp(5, UTC))
    assert one.mem_cache == 1
    assert server.last(ONE + "/metrics").query == "start=5"


async def test_list_goes_through_the_pages(server: FakeServer) -> None:
    second = {**INFO, "sandboxID": "two"}
    server.on("GET", "/v2/sandboxes", reply(200, [INFO], X_Next_Token="next"), reply(200, [second]))
    query = SandboxQuery(
        metadata={"a&b": "c=d e"},
        state=[SandboxState.RUNNING, SandboxState.PAUSED],
        started_after=datetime(2026, 1, 2, tzinfo=UTC),
        template="base",
    )
    pages = AsyncSandbox.list(query, limit=1, order="asc", **server.opts)
    found = []
    while pages.has_next:
        found += await pages.next_items()
    assert [info.sandbox_id for info in found] == ["isandbox", "two"]
    first, last = (request.query.split("&") for request in server.requests)
    assert "metadata=a%252526b%3Dc%25253Dd%252520e" in first
    assert {"state=running%2Cpaused", "template=base", "order=asc", "limit=1"} <= set(first)
    assert "nextToken=next" in last
    with pytest.raises(SandboxException, match="has_next"):
        await pages.next_items()


async def test_pause_and_resume(server: FakeServer) -> None:
    already = reply(409, {"code": 409, "message": "Sandbox isandbox is already paused"})
    busy = reply(409, {"code": 409, "message": "Sandbox is being killed"})
    server.on("POST", ONE + "/pause", reply(204), already, busy)
    server.on("POST", "/v2/sandboxes/isandbox/connect", reply(201, SANDBOX))
    sandbox = await AsyncSandbox.create(**server.opts)
    assert await sandbox.pause(mode="filesystem", strict=True)
    assert server.last(ONE + "/pause").json == {"memory": False, "requireHealthyGuest": True}
    assert await sandbox.beta_pause() is False
    with pytest.raises(SandboxException, match="being killed"):
        await AsyncSandbox.pause("isandbox", **server.opts)
    with pytest.raises(InvalidArgumentException, match="not both"):
        await sandbox.pause(True, mode="full")
    assert await sandbox.connect(timeout=9, on_resume="reboot") is sandbox
    assert server.last("/v2/sandboxes/isandbox/connect").json == {"timeout": 9, "memory": False}
    with pytest.raises(InvalidArgumentException, match="on_resume"):
        await sandbox.connect(on_resume="reset")  # type: ignore[arg-type]


async def test_connect_gives_the_class_it_was_called_on(server: FakeServer) -> None:
    class Mine(AsyncSandbox):
        pass

    server.on("POST", "/v2/sandboxes/isandbox/connect", reply(200, SANDBOX))
    sandbox = await Mine.connect("isandbox", **server.opts)
    assert type(sandbox) is Mine
    assert await sandbox.is_running()
    assert server.last("/health").headers["x-access-token"] == "token"


async def test_snapshots(server: FakeServer) -> None:
    wire = {"snapshotID": "team/s:default", "names": ["team/s:default"]}
    server.on("POST", ONE + "/snapshots", reply(201, wire)).on("GET", "/snapshots", reply(200, [wire]))
    server.on("DELETE", "/templates/team%2Fs%3Adefault", reply(204), reply(404, {"code": 404, "message": ""}))
    sandbox = await AsyncSandbox.create(**server.opts)
    snapshot = await sandbox.create_snapshot("s")
    assert snapshot.names == ["team/s:default"]
    assert await sandbox.list_snapshots().next_items() == [snapshot]
    assert server.last("/snapshots").query == "sandboxID=isandbox"
    assert await AsyncSandbox.list_snapshots(name="s", **server.opts).next_items() == [snapshot]
    assert server.last("/snapshots").query == "name=s"
    assert await AsyncSandbox.delete_snapshot(snapshot.snapshot_id, **server.opts) is True
    assert await AsyncSandbox.delete_snapshot(snapshot.snapshot_id, **server.opts) is False


async def test_fork_tells_of_each_one(server: FakeServer) -> None:
    lost = {"error": {"code": 404, "message": "no snapshot"}}
    full = {"error": {"code": 503, "message": "full"}}
    server.on("POST", ONE + "/fork", reply(201, [{"sandbox": {**SANDBOX, "sandboxID": "two"}}, lost, full, {}]))
    sandbox = await AsyncSandbox.create(**server.opts)
    two, *errors = await sandbox.fork(count=4)
    assert isinstance(two, AsyncSandbox)
    assert two.sandbox_id == "two"
    assert [type(error) for error in errors] == [NotFoundException, ServiceBusyException, SandboxException]
    with pytest.raises(InvalidArgumentException, match="count"):
        await sandbox.fork(count=21)


async def test_update_network(server: FakeServer) -> None:
    server.on("PUT", ONE + "/network", reply(204))
    sandbox = await AsyncSandbox.create(**server.opts)
    await sandbox.update_network({"deny_out": ["10.0.0.0/8"], "dns_servers": [], "allow_internet_access": True})
    assert server.last(ONE + "/network").json == {
        "denyOut": ["10.0.0.0/8"],
        "dnsServers": [],
        "allow_internet_access": True,
    }


async def test_async_with_kills(server: FakeServer) -> None:
    server.on("DELETE", ONE, reply(204))
    async with await AsyncSandbox.create(**server.opts) as sandbox:
        assert sandbox.sandbox_id == "isandbox"
    assert server.count(ONE) == 1


async def test_options_given_once_stay_and_can_be_overridden(server: FakeServer) -> None:
    server.on("DELETE", ONE, reply(204))
    sandbox = await AsyncSandbox.create(request_timeout=0, headers={"A": "1"}, **server.opts)
    assert sandbox.connection_config.request_timeout is None
    await sandbox.kill(api_headers={"A": "2"}, api_key="other")
    headers = server.last(ONE).headers
    assert (headers["a"], headers["x-api-key"]) == ("2", "other")


async def test_debug_mode_asks_no_api(server: FakeServer) -> None:
    opts = {"debug": True, "sandbox_url": server.url}
    sandbox = await AsyncSandbox.create(**opts)
    assert sandbox.sandbox_id == "debug_sandbox_id"
    assert (await AsyncSandbox.connect("other", **opts)).sandbox_id == "other"
    assert await sandbox.connect(timeout=5) is sandbox
    assert await sandbox.kill()
    await sandbox.set_timeout(5)
    assert await sandbox.get_metrics() == []
    assert server.requests == []
    assert await sandbox.is_running()
    assert sandbox.get_host(80) == "localhost:80"


async def test_mcp_gateway_that_fails_ends_the_sandbox(server: FakeServer) -> None:
    end = {"event": {"end": {"exitCode": 127, "exited": True, "error": "exit status 127"}}}
    output = {"event": {"data": {"stderr": "bm90IGZvdW5k"}}}
    server.on_rpc("process.Process/Start", stream({"event": {"start": {"pid": 5}}}, output, end, END))
    server.on("DELETE", ONE, reply(204))
    with pytest.raises(SandboxException, match="MCP gateway: not found") as caught:
        await AsyncSandbox.create(mcp={"fetch": {}}, **server.opts)
    assert isinstance(caught.value.__cause__, CommandExitException)
    assert server.last("/v2/sandboxes").json["templateID"] == "mcp-gateway"
    process = server.last("/process.Process/Start").json["process"]
    assert process["args"][2] == """mcp-gateway --config '{"fetch": {}}'"""
    assert len(process["envs"]["GATEWAY_ACCESS_TOKEN"]) == 36
    assert server.count(ONE) == 1


async def test_hosts_and_urls(server: FakeServer) -> None:
    sandbox = await AsyncSandbox.create(**server.opts)
    assert sandbox.get_host(80) == f"80-isandbox.e2b.localhost:{server.port}"
    assert sandbox.get_mcp_url() == f"http://50005-isandbox.e2b.localhost:{server.port}/mcp"
    assert sandbox.envd_api_url == server.url
    url = sandbox.upload_url("a b/c", user="root", use_signature_expiration=60)
    assert url.startswith(f"http://49983-isandbox.e2b.localhost:{server.port}/files?path=a%20b/c&username=root&")
    assert "&signature=v1_" in url
    assert "&signature_expiration=" in url
