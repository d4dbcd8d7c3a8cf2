"""What a sandbox reaches outside under a policy, before a pretended internet; attacks run as root in the sandbox."""

from __future__ import annotations

import os
from collections.abc import Callable

import docker
import pytest
from e2b import Sandbox, Template

from support import engine
from support.attacks import LINGER, fetch, run
from support.internet import ALLOWED, BELOW, DENIED, OTHER_RESOLVER, RESOLVER, Internet
from support.live import LiveServer, wait_until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make network namespaces"),
]

EVERYTHING = "0.0.0.0/0"


@pytest.fixture(scope="module")
def server_settings(internet: Internet) -> dict[str, str]:
    return {
        "SANDLOT_DNS_SERVERS": RESOLVER,
        "SANDLOT_POOL_SIZE": "2",
        "SANDLOT_EXTRA_CA": str(internet.root),
        "SANDLOT_HTTP_PROXY": f"http://{BELOW}:80",
        "SANDLOT_NO_PROXY": "localhost,127.0.0.1,198.51.100.10,198.51.100.11,198.51.100.20,.test",
    }


def test_extra_certificates_are_trusted(create: Callable[..., Sandbox], server: LiveServer) -> None:
    sandbox = create()
    python = "import urllib.request as u; print(u.urlopen('https://allowed.test/').status)"
    node = "fetch('https://allowed.test/').then((r) => console.log(r.status))"
    for command in ("curl -s -o /dev/null -w '%{http_code}\\n' https://allowed.test/", f'python3 -c "{python}"'):
        assert sandbox.commands.run(command).stdout == "200\n"
    if run(sandbox, "command -v node"):
        assert sandbox.commands.run(f'node -e "{node}"').stdout == "200\n"


def test_the_proxy_is_used(create: Callable[..., Sandbox]) -> None:
    # The far end answers whatever it is asked for, as the proxy that it is here.
    assert create().commands.run("curl -s http://elsewhere.invalid/").stdout == f"elsewhere.invalid at {BELOW}\n"


def test_builds_have_them_too(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.sdk_environment.items():
        monkeypatch.setenv(name, value)
    steps = Template().from_base_image().run_cmd("(curl -sf https://allowed.test/; echo $http_proxy) > /tmp/far")
    Template.build(steps, "egress-build")
    with Sandbox.create("egress-build", timeout=60, **server.options) as sandbox:
        assert sandbox.files.read("/tmp/far") == f"allowed.test at {ALLOWED}\nhttp://{BELOW}:80\n"


def test_without_a_policy_the_outside_is_open(create: Callable[..., Sandbox]) -> None:
    sandbox = create()
    assert fetch(sandbox, "http://allowed.test/") == f"allowed.test at {ALLOWED}\n"
    assert fetch(sandbox, f"https://{DENIED}/") == f"{DENIED} at {DENIED}\n"


def test_denied_addresses(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"deny_out": [DENIED, "198.51.100.11/32"]})
    assert fetch(sandbox, f"http://{DENIED}/") is None
    assert fetch(sandbox, f"https://{BELOW}/") is None
    assert fetch(sandbox, "http://allowed.test/") == f"allowed.test at {ALLOWED}\n"


def test_no_internet(create: Callable[..., Sandbox], internet: Internet) -> None:
    sandbox = create(allow_internet_access=False)
    assert fetch(sandbox, f"http://{ALLOWED}/") is None
    assert fetch(sandbox, "http://allowed.test/") is None
    assert sandbox.get_info().allow_internet_access is False


def test_what_is_allowed_beats_what_is_denied(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": [ALLOWED]})
    assert fetch(sandbox, f"https://{ALLOWED}/") == f"{ALLOWED} at {ALLOWED}\n"
    assert fetch(sandbox, f"http://{DENIED}/") is None


def test_domains(create: Callable[..., Sandbox], internet: Internet) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": ["allowed.test", "*.allowed.test"]})
    for scheme in ("http", "https"):
        assert fetch(sandbox, f"{scheme}://allowed.test/") == f"allowed.test at {ALLOWED}\n"
        assert fetch(sandbox, f"{scheme}://below.allowed.test/") == f"below.allowed.test at {BELOW}\n"
        assert fetch(sandbox, f"{scheme}://denied.test/") is None
    assert "denied.test" not in internet.list_asked()


def test_update_holds_at_once_and_clears_what_it_leaves_out(create: Callable[..., Sandbox]) -> None:
    sandbox = create()
    sandbox.update_network({"deny_out": [DENIED]})
    assert fetch(sandbox, f"http://{DENIED}/") is None
    assert fetch(sandbox, f"http://{ALLOWED}/") is not None
    sandbox.update_network({"deny_out": [EVERYTHING], "allow_out": ["denied.test"]})
    assert fetch(sandbox, f"http://{ALLOWED}/") is None
    assert fetch(sandbox, "http://denied.test/") == f"denied.test at {DENIED}\n"
    sandbox.update_network({})
    assert fetch(sandbox, f"http://{ALLOWED}/") is not None


def test_dns_servers_of_a_sandbox(create: Callable[..., Sandbox], internet: Internet) -> None:
    sandbox = create(network={"dns_servers": [OTHER_RESOLVER]})
    internet.name(there_test=[ALLOWED])
    assert fetch(sandbox, "http://there.test/") == f"there.test at {ALLOWED}\n"
    assert "there.test" in internet.list_asked(OTHER_RESOLVER)
    assert "there.test" not in internet.list_asked()
    sandbox.update_network({})
    assert fetch(sandbox, "http://there.test/") is not None
    assert "there.test" in internet.list_asked()


def test_a_start_command_is_bound_from_its_beginning(create: Callable[..., Sandbox], server: LiveServer) -> None:
    reach = f"rm -f /tmp/told; curl -s --connect-timeout 3 http://{DENIED}/ > /tmp/told; echo done >> /tmp/told"
    template = Template().from_base_image().set_start_cmd(f"{reach}; sleep 1000", "grep -q done /tmp/told")
    Template.build(template, "egress-start", api_url=server.url, api_key=server.key)
    assert create(template="egress-start", allow_internet_access=False).files.read("/tmp/told") == "done\n"
    free = create(template="egress-start").files.read("/tmp/told")
    assert free == f"{DENIED} at {DENIED}\ndone\n"


@pytest.mark.parametrize("host", [ALLOWED, "allowed.test"])
def test_an_update_ends_what_is_open(create: Callable[..., Sandbox], host: str) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": [host]})
    sandbox.files.write("/tmp/linger.py", LINGER)
    sandbox.commands.run(f"python3 /tmp/linger.py {host} > /tmp/told", background=True)
    wait_until(lambda: run(sandbox, "cat /tmp/told") == f"{host} at {ALLOWED}\n", "the first answer")
    sandbox.update_network({"deny_out": [EVERYTHING], "allow_out": [DENIED]})
    sandbox.files.write("/tmp/go-on", "")
    wait_until(lambda: run(sandbox, "tail -n +2 /tmp/told") != "", "the second answer")
    assert run(sandbox, "tail -n +2 /tmp/told") == "cut\n"


def test_the_policy_outlasts_pauses_and_boots(create: Callable[..., Sandbox], server: LiveServer) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": ["allowed.test"]})
    for keep_memory in (True, False):
        status, _ = server.call("POST", f"/sandboxes/{sandbox.sandbox_id}/pause", {"memory": keep_memory})
        assert status == 204
        sandbox = Sandbox.connect(sandbox.sandbox_id, **server.options)
        assert_only_allowed(sandbox)


def test_a_fork_is_bound_as_its_source_is(create: Callable[..., Sandbox], server: LiveServer) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": ["allowed.test"]})
    status, forks = server.call("POST", f"/sandboxes/{sandbox.sandbox_id}/fork", {"timeout": 60})
    assert status == 201
    assert isinstance(forks, list)
    fork = Sandbox.connect(forks[0]["sandbox"]["sandboxID"], **server.options)
    try:
        assert_only_allowed(fork)
    finally:
        fork.kill()


def assert_only_allowed(sandbox: Sandbox) -> None:
    assert fetch(sandbox, "https://allowed.test/") == f"allowed.test at {ALLOWED}\n"
    assert fetch(sandbox, f"http://{DENIED}/") is None
    assert fetch(sandbox, "http://denied.test/") is None


def test_who_comes_after_is_not_bound(create: Callable[..., Sandbox]) -> None:
    create(allow_internet_access=False).kill()
    for _ in range(3):
        assert fetch(create(), f"http://{DENIED}/") is not None


def test_without_a_server_the_policy_holds(
    create: Callable[..., Sandbox], server: LiveServer, client: docker.DockerClient
) -> None:
    sandbox = create(network={"deny_out": [EVERYTHING], "allow_out": [BELOW, "allowed.test"]})
    sandbox.files.write("/tmp/mark", "x")
    container = next(
        one
        for one in engine.list_containers(client, server.installation)
        if one.exec_run(["test", "-e", "/tmp/mark"]).exit_code == 0
    )
    server.kill()
    try:
        for address, code in ((BELOW, 0), (DENIED, 7), (ALLOWED, 7)):
            ended = container.exec_run(["curl", "-s", "--max-time", "5", f"http://{address}/"]).exit_code
            assert ended == code, address
    finally:
        server.start()
    assert_only_allowed(Sandbox.connect(sandbox.sandbox_id, **server.options))
