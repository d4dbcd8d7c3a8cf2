"""Examines the machine for everything that sandboxes need; each finding that fails carries its remedy."""

from __future__ import annotations

import platform
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import ContainerError, DockerException, ImageNotFound

from sandlot_server import control, daemon
from sandlot_server.daemon import DaemonError
from sandlot_server.errors import EngineError
from sandlot_server.runtime.docker_client import find_agent
from sandlot_server.runtime.swap import can_push, read_swap
from sandlot_server.settings import Settings

MIN_DISK_GB = 5
MIN_INOTIFY_INSTANCES = 128
SHOW_AGENT = [
    "/opt/sandlot/bin/python3.11",
    "-I",
    "-B",
    "-c",
    "import sandlot_envd, sys; print(sys.version.split()[0])",
]
LOOK_UP = ["/opt/sandlot/bin/python3.11", "-I", "-B", "-c"]
QUERY = """
import socket, sys
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(1)
question = bytes.fromhex("2a2a01000001000000000000") + b"\\x06doctor\\x07invalid\\0\\0\\x01\\0\\x01"
for _ in range(3):
    asker.sendto(question, (sys.argv[1], 53))
    try:
        sys.exit(0 if asker.recv(512)[:2] == b"**" else 1)
    except TimeoutError:
        pass
sys.exit(1)
"""
OTHER_NAMES_FIX = "systemd's nss-myhostname: `myhostname` in the `hosts:` line of /etc/nsswitch.conf, before `dns`"
NAMES_FIXES = {
    "debian": "`apt-get install libnss-myhostname`",
    "alpine": "musl has no such plug-in: run dnsmasq with address=/localhost/127.0.0.1 as this machine's resolver",
}
"""By distribution."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and how to mend it (None: nothing to mend)."""

    subject: str
    found: str
    fix: str | None = None


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield one finding after the other, in the order in which things rest on each other."""
    try:
        client = docker.from_env()
        version = client.version()
    except DockerException as error:
        yield Finding("engine", f"no Docker engine answers ({error})", "install Docker, or run `make up` as root")
        return
    yield Finding("engine", f"Docker {version['Version']}, API {version['ApiVersion']}, {version['Arch']}")
    pid = daemon.find_pid(settings.home)
    try:
        yield _check_base(client, settings)
        yield _check_agent(client, settings)
        yield _check_disk(client)
        yield examine_swap()
        if pid is not None:
            yield _check_gateway(client, settings)
    finally:
        client.close()
    yield _check_port(settings)
    if pid is not None:
        yield _check_pool(settings)
    yield _check_names(settings.domain)
    yield examine_inotify()


def _check_base(client: docker.DockerClient, settings: Settings) -> Finding:
    try:
        image = client.images.get(settings.base_image)
    except ImageNotFound:
        return Finding("base image", f"{settings.base_image} is missing", "run `make images`")
    return Finding("base image", f"{settings.base_image}, {image.attrs['Size'] / 1e6:.0f} MB")


def _check_agent(client: docker.DockerClient, settings: Settings) -> Finding:
    """Start the agent's own Python in a container that holds nothing else it could use."""
    try:
        name = settings.agent_volume or find_agent(client.api)
    except EngineError:
        return Finding("agent", "no agent volume", "run `make images`")
    try:
        said = client.containers.run(
            settings.base_image,
            entrypoint=SHOW_AGENT,
            volumes={name: {"bind": "/opt/sandlot", "mode": "ro"}},
            network_mode="none",
            remove=True,
        )
    except DockerException as error:
        return Finding(
            "agent", f"does not start from {name}: {error}", f"`docker volume rm {name}`, then `make images`"
        )
    return Finding("agent", f"{name}, Python {said.decode().strip()}")


def _check_gateway(client: docker.DockerClient, settings: Settings) -> Finding:
    """Ask the running server's resolver from where the sandboxes are: the host's own firewall may be in between."""
    network = f"sandlot-{(settings.home / 'installation').read_text().strip()}"
    try:
        [found] = client.networks.list(names=[f"^{network}$"])
        gateway = found.attrs["IPAM"]["Config"][0]["Gateway"]
        bridge = found.attrs["Options"]["com.docker.network.bridge.name"]
        client.containers.run(
            settings.base_image,
            entrypoint=[*LOOK_UP, QUERY, gateway],
            volumes={settings.agent_volume or find_agent(client.api): {"bind": "/opt/sandlot", "mode": "ro"}},
            network=network,
            remove=True,
        )
    except ContainerError:
        fix = f"let its bridge in: `iptables -I INPUT -i {bridge} -j ACCEPT` (Sandlot's own rules still hold)"
        return Finding("names inside", f"sandboxes do not reach {gateway}: this host's firewall drops it", fix)
    except (DockerException, EngineError, OSError, ValueError) as error:
        return Finding("names inside", f"the sandboxes' network cannot be looked at: {error}", "`make down`, `make up`")
    return Finding("names inside", f"the server's resolver answers sandboxes at {gateway}")


def _check_port(settings: Settings) -> Finding:
    address = f"http://{settings.host}:{settings.port}"
    pid = daemon.find_pid(settings.home)
    if pid is not None and daemon.answers(settings.host, settings.port):
        return Finding("server", f"{address} answers (pid {pid})")
    if occupant := daemon.find_occupant(settings.port):
        return Finding("server", f"port {settings.port} is taken by {occupant}", "stop it, or set SANDLOT_PORT")
    return Finding("server", f"not running; {address} is free", "run `make up` or `sandlot serve --background`")


def _check_pool(settings: Settings) -> Finding:
    try:
        levels = control.call(settings, "GET", "/_sandlot/pool")
    except DaemonError as error:
        return Finding("pool", f"not known: {error}")
    return Finding("pool", "; ".join(map(describe_level, levels)) or "nothing waits")


def describe_level(level: Mapping[str, Any]) -> str:
    """What `/_sandlot/pool` tells of a template, for people."""
    waiting = f"{level['template_id']}: {level['waiting']} of {level['wanted']} wait"
    asked = level["taken"] + level["missed"]
    return f"{waiting}, {level['taken']} of {asked} creates took one" if asked else waiting


def _check_disk(client: docker.DockerClient) -> Finding:
    root = Path(client.info()["DockerRootDir"])
    free = shutil.disk_usage(root if root.exists() else Path("/")).free / 1e9
    fix = None if free >= MIN_DISK_GB else f"free some space on {root}: sandboxes share it and have no quota"
    return Finding("disk", f"{free:.0f} GB free for images and sandboxes in {root}", fix)


def examine_swap() -> Finding:
    """Look at where the memory of paused sandboxes can go."""
    try:
        total, free = read_swap()
    except OSError:
        return Finding("swap", "not known here: paused sandboxes stay in memory")
    if not total:
        return Finding("swap", "none: paused sandboxes stay in memory")
    found = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    if not can_push():
        return Finding("swap", f"{found}, but only a server that is root moves the memory of paused sandboxes there")
    return Finding("swap", f"{found}: the memory of paused sandboxes is moved there")


def _check_names(domain: str) -> Finding:
    name = f"49983-doctor.{domain}"
    try:
        address = socket.getaddrinfo(name, None)[0][4][0]
    except OSError:
        return Finding(
            "names",
            f"*.{domain} does not resolve: URLs with a sandbox's own host name will not work here",
            _find_names_fix(domain),
        )
    return Finding("names", f"{name} is {address}")


def _find_names_fix(domain: str) -> str:
    """What lets this machine resolve the names of sandboxes; browsers know all names under localhost already."""
    if domain != "localhost" and not domain.endswith(".localhost"):
        return f"have your DNS answer *.{domain} with the address of this machine"
    if platform.system() == "Darwin":
        return f"`brew install dnsmasq`, address=/{domain}/127.0.0.1 in its settings, and 127.0.0.1 as resolver"
    system = _read_system()
    return next((fix for name, fix in NAMES_FIXES.items() if name in system), OTHER_NAMES_FIX)


def _read_system() -> list[str]:
    """The names by which this Linux goes, its own first."""
    try:
        about = platform.freedesktop_os_release()
    except OSError:
        return []
    return [about["ID"], *about.get("ID_LIKE", "").split()]


def examine_inotify() -> Finding:
    """Look at how many agents can watch files at once: the limit counts all containers of the host together."""
    limits = {name: _read_limit(f"/proc/sys/fs/inotify/{name}") for name in ("max_user_instances", "max_user_watches")}
    found = ", ".join(f"{name} {value}" for name, value in limits.items())
    enough = limits["max_user_instances"] is None or limits["max_user_instances"] >= MIN_INOTIFY_INSTANCES
    return Finding("file watching", found, None if enough else "`sysctl fs.inotify.max_user_instances=1024`")


def _read_limit(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except OSError:
        return None
