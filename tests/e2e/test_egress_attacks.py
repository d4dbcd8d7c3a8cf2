"""Ways out that are closed. Each is tried as root in a sandbox, and works once its defence is switched off."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator

import docker
import pytest
from e2b import Sandbox

from support import engine
from support.attacks import ask, fetch, firewall_off, neighbours_together, run, say
from support.internet import ALLOWED, DENIED, METADATA, PRIVATE, RESOLVER, Internet
from support.live import LiveServer, wait_until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make network namespaces and change the firewall"),
]

ONLY_ALLOWED = {"deny_out": ["0.0.0.0/0"], "allow_out": ["allowed.test", "*.allowed.test"]}


@pytest.fixture(scope="module")
def server_settings(internet: Internet) -> dict[str, str]:
    # On every address, so that only the firewall is between sandboxes and the API.
    return {"SANDLOT_DNS_SERVERS": RESOLVER, "SANDLOT_POOL_SIZE": "2", "SANDLOT_HOST": "0.0.0.0"}


@pytest.fixture(scope="module")
def plain(server: LiveServer) -> Iterator[Sandbox]:
    """A sandbox without a policy, for attacks on what is closed to all."""
    sandbox = Sandbox.create(timeout=300, **server.options)
    yield sandbox
    sandbox.kill()


@pytest.fixture(scope="module")
def bound(server: LiveServer) -> Iterator[Sandbox]:
    """A sandbox that may reach one domain."""
    sandbox = Sandbox.create(timeout=300, network=ONLY_ALLOWED, **server.options)
    yield sandbox
    sandbox.kill()


@contextlib.contextmanager
def freed(sandbox: Sandbox) -> Iterator[None]:
    """Lift the sandbox's own policy for the length of a block."""
    sandbox.update_network({})
    try:
        yield
    finally:
        sandbox.update_network(ONLY_ALLOWED)


def find_gateway(sandbox: Sandbox) -> str:
    return (run(sandbox, "ip route show default | cut -d' ' -f3") or "").strip()


def assert_closed_by_the_firewall(server: LiveServer, attack: Callable[[], object], *families: str) -> None:
    assert not attack()
    with firewall_off(server.installation, *families):
        assert attack()
    assert not attack()


@pytest.mark.parametrize("address", [METADATA, PRIVATE])
def test_private_addresses_and_the_cloud_s_metadata(plain: Sandbox, server: LiveServer, address: str) -> None:
    assert_closed_by_the_firewall(server, lambda: fetch(plain, f"http://{address}/"))


def test_the_control_plane(plain: Sandbox, server: LiveServer) -> None:
    url = f"http://{find_gateway(plain)}:{server.port}/health"
    assert_closed_by_the_firewall(server, lambda: fetch(plain, url, "-w '%{http_code}'"))


class EngineRelay(http.server.BaseHTTPRequestHandler):
    """The engine on TCP, as some set it up."""

    def do_GET(self) -> None:
        with socket.socket(socket.AF_UNIX) as to_engine:
            to_engine.connect("/var/run/docker.sock")
            to_engine.sendall(f"GET {self.path} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
            answer = http.client.HTTPResponse(to_engine)
            answer.begin()
            self.send_response(answer.status)
            self.end_headers()
            self.wfile.write(answer.read())

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def serve_engine() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), EngineRelay) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield listener.server_port
        finally:
            listener.shutdown()
            thread.join()


def test_the_engine_and_other_services_of_the_host(plain: Sandbox, server: LiveServer) -> None:
    with serve_engine() as port:
        url = f"http://{find_gateway(plain)}:{port}/_ping"
        assert_closed_by_the_firewall(server, lambda: fetch(plain, url) == "OK")


def test_a_published_port_of_another_container(plain: Sandbox, server: LiveServer, client: docker.DockerClient) -> None:
    other = client.containers.run(
        "sandlot/base:latest",
        ["python3", "-m", "http.server", "80"],
        name=f"published-{uuid.uuid4().hex[:8]}",
        ports={"80/tcp": None},
        detach=True,
        auto_remove=True,
    )
    try:
        other.reload()
        port = int(other.ports["80/tcp"][0]["HostPort"])
        wait_until(lambda: is_open("127.0.0.1", port), "the container serves")
        url = f"http://{find_gateway(plain)}:{port}/"
        assert_closed_by_the_firewall(server, lambda: fetch(plain, url))
    finally:
        other.kill()


def is_open(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def test_a_neighbour_s_address(plain: Sandbox, create: Callable[..., Sandbox], server: LiveServer) -> None:
    victim = create()
    victim.commands.run("python3 -m http.server 8765 --bind 0.0.0.0", background=True)
    address = (run(victim, "hostname -I") or "").split()[0]
    wait_until(lambda: fetch(victim, f"http://{address}:8765/") is not None, "the neighbour serves")
    with neighbours_together(f"sl-{server.installation[:10]}"):
        assert_closed_by_the_firewall(server, lambda: fetch(plain, f"http://{address}:8765/"), "inet", "bridge")


def test_a_neighbour_s_name(plain: Sandbox, server: LiveServer, client: docker.DockerClient) -> None:
    names = [one.name for one in engine.list_containers(client, server.installation)]
    assert len(names) > 1
    for name in names:
        assert run(plain, f"getent hosts {name}") is None
        assert not ask(plain, find_gateway(plain), name)
    # The engine's own resolver, in place of ours, would tell.
    assert any(ask(plain, "127.0.0.11", name) for name in names)


def test_ipv6(plain: Sandbox, server: LiveServer, client: docker.DockerClient) -> None:
    bridge = f"sl-{server.installation[:10]}"
    host = subprocess.run(["ip", "-6", "-o", "addr", "show", bridge], capture_output=True, text=True, check=True).stdout
    address = host.split()[3].partition("/")[0]
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), EngineRelay) as taken:
        port = taken.server_port
    listener = subprocess.Popen(
        ["python3", "-m", "http.server", str(port), "--bind", "::"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: is_open("::1", port), "the host serves")
        attack = lambda: fetch(plain, f"http://[{address}%25eth0]:{port}/")  # noqa: E731
        assert attack() is None
        give_ipv6(plain, server, client)
        wait_until(lambda: has_ipv6(plain), "the sandbox has an address")
        assert_closed_by_the_firewall(server, attack)
    finally:
        listener.kill()
        listener.wait()


def has_ipv6(sandbox: Sandbox) -> bool:
    """Whether it has an address that was found to be nobody else's."""
    lines = [line.split() for line in (run(sandbox, "cat /proc/net/if_inet6") or "").splitlines()]
    return any(line[0].startswith("fe80") and not int(line[4], 16) & 0x40 for line in lines)


def give_ipv6(sandbox: Sandbox, server: LiveServer, client: docker.DockerClient) -> None:
    """What a sandbox cannot do for itself: turn IPv6 on."""
    assert run(sandbox, "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6") is None
    sandbox.files.write("/tmp/wants-ipv6", "x")
    for one in engine.list_containers(client, server.installation):
        if one.exec_run(["test", "-e", "/tmp/wants-ipv6"]).exit_code == 0:
            pid = str(one.attrs["State"]["Pid"])
            enter = ["nsenter", "--net", "--target", pid, "sysctl", "-q", "net.ipv6.conf.eth0.disable_ipv6=0"]
            subprocess.run(enter, check=True)


def test_a_denied_domain_by_its_address(bound: Sandbox) -> None:
    for url in (f"http://{DENIED}/", f"https://{DENIED}/", f"http://{DENIED}:443/"):
        assert fetch(bound, url) is None
    with freed(bound):
        assert fetch(bound, f"http://{DENIED}/") == f"{DENIED} at {DENIED}\n"


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_an_allowed_name_for_a_denied_address(bound: Sandbox, scheme: str, port: int) -> None:
    lie = f"--resolve allowed.test:{port}:{DENIED}"
    assert fetch(bound, f"{scheme}://allowed.test/", lie) == f"allowed.test at {ALLOWED}\n"
    with freed(bound):
        assert fetch(bound, f"{scheme}://allowed.test/", lie) == f"allowed.test at {DENIED}\n"


def test_a_denied_name_at_an_allowed_address(bound: Sandbox) -> None:
    lie = f"--resolve denied.test:443:{ALLOWED}"
    assert fetch(bound, "https://denied.test/", lie) is None
    with freed(bound):
        assert fetch(bound, "https://denied.test/", lie) == f"denied.test at {ALLOWED}\n"


def test_a_name_that_comes_to_mean_an_address_inside(
    bound: Sandbox, plain: Sandbox, internet: Internet, server: LiveServer
) -> None:
    internet.name(moving_allowed_test=[ALLOWED])
    assert fetch(bound, "https://moving.allowed.test/") == f"moving.allowed.test at {ALLOWED}\n"
    internet.name(moving_allowed_test=[PRIVATE])
    assert fetch(bound, "https://moving.allowed.test/") is None
    server.kill()
    server.settings["SANDLOT_OPEN_NETWORKS"] = f"{PRIVATE}/32"
    server.start()
    try:
        assert fetch(bound, "https://moving.allowed.test/") == f"moving.allowed.test at {PRIVATE}\n"
        assert fetch(plain, f"http://{PRIVATE}/") == f"{PRIVATE} at {PRIVATE}\n"
        assert fetch(bound, f"http://{PRIVATE}:8080/") is None
    finally:
        del server.settings["SANDLOT_OPEN_NETWORKS"]
        server.kill()
        server.start()


def test_udp_443(bound: Sandbox) -> None:
    assert say(bound, ALLOWED, 443) is None
    with freed(bound):
        assert say(bound, ALLOWED, 443) == "well\n"


def test_telling_by_asking_for_names(bound: Sandbox, internet: Internet) -> None:
    gateway = find_gateway(bound)
    for resolver in (gateway, "127.0.0.11", RESOLVER, "8.8.8.8"):
        assert not ask(bound, resolver, f"told-{resolver.replace('.', '-')}.denied.test")
    assert run(bound, "getent hosts told-by-libc.denied.test") is None
    assert not [name for name in internet.list_asked() if name.startswith("told")]
    assert ask(bound, gateway, "allowed.test")
    with freed(bound):
        run(bound, "getent hosts told-when-free.denied.test")
    assert "told-when-free.denied.test" in internet.list_asked()
