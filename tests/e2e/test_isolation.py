"""What a sandbox may do inside, and what it must not reach outside. Attacks run as root inside a real sandbox."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import uuid
from collections.abc import Callable, Iterator

import docker
import psutil
import pytest
from e2b import CommandExitException, Sandbox

from support import engine
from support.live import LiveServer, find_free_port

pytestmark = pytest.mark.docker

KNOCK = """
import socket, sys
for address in sys.argv[2:]:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.settimeout(2)
        try:
            s.connect((address, int(sys.argv[1])))
            print("REACHED", address)
        except OSError as error:
            print("closed", address, error)
"""


def succeeds(sandbox: Sandbox, command: str, user: str = "user") -> str:
    return sandbox.commands.run(command, user=user, timeout=100).stdout


def fails(sandbox: Sandbox, command: str, user: str = "root") -> str:
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.run(command, user=user, timeout=30)
    return caught.value.stdout + caught.value.stderr


def knock(sandbox: Sandbox, port: int, addresses: list[str]) -> list[str]:
    """Addresses on which TCP `port` accepts a connection from within the sandbox, tried as root."""
    sandbox.files.write("/tmp/knock.py", KNOCK)
    out = succeeds(sandbox, f"python3 /tmp/knock.py {port} {' '.join(addresses)}", user="root")
    assert out.count("\n") == len(addresses)
    return [line.split()[1] for line in out.splitlines() if line.startswith("REACHED")]


def list_host_addresses() -> list[str]:
    found = {a.address.split("%")[0] for many in psutil.net_if_addrs().values() for a in many if a.family in (2, 10)}
    return sorted(address for address in found if not address.startswith(("fe80", "127.", "::1")))


def test_ordinary_work_of_a_user(sandbox: Sandbox) -> None:
    assert succeeds(sandbox, "sudo id -u") == "0\n"
    succeeds(sandbox, "sudo useradd --create-home other && sudo -u other id -un")
    succeeds(
        sandbox,
        "touch mine && sudo chown other mine && sudo chmod 4755 mine && stat -c '%U %a' mine | grep -x 'other 4755'",
    )
    succeeds(sandbox, "mkdir shared && chmod 2775 shared && touch shared/x && stat -c %A shared | grep -x drwxrwsr-x")
    succeeds(sandbox, "ping -c 1 -W 2 127.0.0.1")


def test_installs_a_package(sandbox: Sandbox) -> None:
    succeeds(sandbox, "sudo apt-get update -qq && sudo apt-get install -y -qq hello >/dev/null && hello")


def test_reaches_no_neighbour(create: Callable[..., Sandbox], server: LiveServer, client: docker.DockerClient) -> None:
    attacker, victim = create(), create()
    victim.commands.run("python3 -m http.server 8765 --bind 0.0.0.0", background=True)
    address = succeeds(victim, "hostname -I").split()[0]
    succeeds(
        victim, f"for _ in $(seq 50); do curl -s -o /dev/null http://{address}:8765 && exit 0; sleep 0.1; done; exit 1"
    )
    assert knock(attacker, 8765, [address]) == []
    assert knock(attacker, 49983, [address]) == []


@contextlib.contextmanager
def serve_on_every_address() -> Iterator[int]:
    port = find_free_port()
    with http.server.ThreadingHTTPServer(("0.0.0.0", port), http.server.SimpleHTTPRequestHandler) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield port
        finally:
            listener.shutdown()
            thread.join()


def test_reaches_no_port_of_the_host(sandbox: Sandbox, server: LiveServer) -> None:
    gateway = succeeds(sandbox, "ip route show default | cut -d' ' -f3").strip()
    with serve_on_every_address() as port:
        with socket.create_connection((gateway, port), timeout=5):
            pass
        assert knock(sandbox, port, [gateway, *list_host_addresses()]) == []
    assert knock(sandbox, server.port, [gateway, *list_host_addresses()]) == []


def test_reaches_no_published_port(sandbox: Sandbox, client: docker.DockerClient) -> None:
    port = find_free_port()
    other = client.containers.run(
        "sandlot/base:latest",
        ["python3", "-m", "http.server", "80"],
        name=f"published-{uuid.uuid4().hex[:8]}",
        ports={"80/tcp": port},
        detach=True,
        auto_remove=True,
    )
    try:
        other.reload()
        inside = other.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        gateway = succeeds(sandbox, "ip route show default | cut -d' ' -f3").strip()
        assert knock(sandbox, port, [gateway, *list_host_addresses()]) == []
        assert knock(sandbox, 80, [inside]) == []
    finally:
        other.kill()


def test_has_no_docker_socket_and_cannot_write_the_agent(sandbox: Sandbox) -> None:
    fails(sandbox, "test -e /var/run/docker.sock")
    assert "Read-only" in fails(sandbox, "touch /opt/sandlot/x")
    fails(sandbox, "mount -o remount,rw /opt/sandlot")


def test_root_cannot_trace_the_agent(sandbox: Sandbox) -> None:
    fails(sandbox, "cat /proc/1/environ")
    fails(sandbox, "python3 -c \"open('/proc/1/mem', 'rb')\"")
    trace = "import ctypes, sys; sys.exit(0 if ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0 else 5)"
    fails(sandbox, f"python3 -c '{trace}'")


def test_killing_the_agent_harms_that_sandbox_alone(
    create: Callable[..., Sandbox], server: LiveServer, client: docker.DockerClient
) -> None:
    bystander, victim = create(), create()
    # Signals from inside the namespace never reach PID 1 unless it asked for them; the engine's do.
    victim.commands.run("kill -9 1", user="root")
    assert victim.is_running()
    held = next(c for c in engine.list_containers(client, server.installation) if c.name and _is_of(victim, c))
    held.kill()
    assert not victim.is_running()
    assert bystander.commands.run("echo well").stdout == "well\n"


def _is_of(sandbox: Sandbox, container: docker.models.containers.Container) -> bool:
    """Whether the container is the sandbox's, told by a file written through the SDK."""
    mark = f"/tmp/{sandbox.sandbox_id}"
    sandbox.files.write(mark, "x")
    code: int = container.exec_run(["test", "-e", mark]).exit_code
    return code == 0
