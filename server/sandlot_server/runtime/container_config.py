"""The configuration of containers in the words of the Engine API: where every limit and every refusal stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandlot_server.runtime.base import AGENT_PATH, AGENT_PYTHON, ContainerSpec, Role
from sandlot_server.runtime.seccomp import make_profile

INSTALLATION_LABEL = "dev.sandlot.installation"
ROLE_LABEL = "dev.sandlot.role"
TEMPLATE_LABEL = "dev.sandlot.template"
BUILD_LABEL = "dev.sandlot.build"

AGENT_COMMAND = [AGENT_PYTHON, "-I", "-S", "-B", "-X", "frozen_modules=on", "-m", "sandlot_envd"]
HOSTNAME = "sandbox"

CAPABILITIES = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
]
"""What sudo, apt, useradd, chown and setgid need; no raw sockets and no device nodes."""

SYSCTLS = {"net.ipv4.ping_group_range": "0 2147483647"}
"""Lets everybody ping without raw sockets."""

MIB = 1024 * 1024
LOG_LIMITS = {"max-size": "1m", "max-file": "2"}


@dataclass(frozen=True, slots=True)
class Placement:
    """What all containers of an installation share."""

    installation: str
    network: str
    gateway: str
    """Where our resolver answers."""
    agent_volume: str
    cpus: int
    """CPUs of the host; asking the engine for more is an error."""


def make_config(spec: ContainerSpec, placement: Placement) -> dict[str, Any]:
    """The container that holds a sandbox, as the Engine API takes it."""
    return {
        "Image": spec.image,
        "Hostname": HOSTNAME,
        "User": "0:0",
        "WorkingDir": "/",
        "Entrypoint": AGENT_COMMAND,
        "Cmd": [],
        # The image's own preload would go into the agent; the agent gives it back to what it starts.
        "Env": [
            "LD_PRELOAD=",
            f"SANDLOT_CONTAINER={spec.name}",
            f"SANDLOT_CONTROL_TOKEN={spec.control_token}",
            f"SANDLOT_NAMESERVER={placement.gateway}",
        ],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {
            INSTALLATION_LABEL: placement.installation,
            ROLE_LABEL: str(spec.role),
            TEMPLATE_LABEL: spec.template_id,
            BUILD_LABEL: spec.build_id,
        },
        "HostConfig": {**_limit(spec, placement), **_confine(), **_mount_agent(placement)},
        "NetworkingConfig": {"EndpointsConfig": {placement.network: {}}},
    }


def _limit(spec: ContainerSpec, placement: Placement) -> dict[str, Any]:
    memory = spec.memory_mb * MIB
    return {
        "NanoCpus": min(spec.cpu_count, placement.cpus) * 10**9,
        "Memory": memory,
        "MemorySwap": memory,
        "ShmSize": memory // 2,
        "PidsLimit": spec.pids_limit,
        "LogConfig": {"Type": "json-file", "Config": LOG_LIMITS},
    }


def _confine() -> dict[str, Any]:
    return {
        "CapDrop": ["ALL"],
        "CapAdd": CAPABILITIES,
        "SecurityOpt": [f"seccomp={make_profile()}"],
        "Sysctls": SYSCTLS,
    }


def _mount_agent(placement: Placement) -> dict[str, Any]:
    return {
        "NetworkMode": placement.network,
        "Dns": [placement.gateway],
        "Mounts": [
            {
                "Type": "volume",
                "Source": placement.agent_volume,
                "Target": AGENT_PATH,
                "ReadOnly": True,
                "VolumeOptions": {"NoCopy": True},
            }
        ],
    }


def make_tool_config(installation: str, image: str, command: list[str]) -> dict[str, Any]:
    """A container that changes the host's network and ends."""
    return {
        "Image": image,
        "User": "0:0",
        "Entrypoint": command[:1],
        "Cmd": command[1:],
        "Labels": {INSTALLATION_LABEL: installation, ROLE_LABEL: str(Role.TOOL)},
        "HostConfig": {"NetworkMode": "host", "CapDrop": ["ALL"], "CapAdd": ["NET_ADMIN"]},
    }


def make_copier_config(installation: str, image: str, agent_volume: str, folder: str, program: str) -> dict[str, Any]:
    """A container that reads a folder of the engine with a program of ours, and nothing else; output is not logged."""
    mounts = [
        {"Type": "bind", "Source": folder, "Target": "/layer", "ReadOnly": True},
        {"Type": "volume", "Source": agent_volume, "Target": AGENT_PATH, "ReadOnly": True},
    ]
    return {
        "Image": image,
        "User": "0:0",
        "Entrypoint": [AGENT_PYTHON, "-I", "-S", "-B", "-c", program, "/layer"],
        "Cmd": [],
        "Env": ["LD_PRELOAD="],
        "Labels": {INSTALLATION_LABEL: installation, ROLE_LABEL: str(Role.TOOL)},
        "HostConfig": {
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            # Seeing xattrs named trusted.* takes SYS_ADMIN.
            "CapAdd": ["DAC_READ_SEARCH", "SYS_ADMIN"],
            "LogConfig": {"Type": "none"},
            "Mounts": mounts,
        },
    }


def make_watchman_config(installation: str, image: str, agent_volume: str, command: list[str]) -> dict[str, Any]:
    """A container that runs a program of ours among the processes of the engine's host, and may end them."""
    mounts = [
        {"Type": "bind", "Source": "/sys/fs/cgroup", "Target": "/sys/fs/cgroup"},
        {"Type": "volume", "Source": agent_volume, "Target": AGENT_PATH, "ReadOnly": True},
    ]
    return {
        "Image": image,
        "User": "0:0",
        "Entrypoint": [AGENT_PYTHON, "-I", "-S", "-B", "-c", *command],
        "Cmd": [],
        "Env": ["LD_PRELOAD="],
        "Labels": {INSTALLATION_LABEL: installation, ROLE_LABEL: str(Role.TOOL)},
        "HostConfig": {
            "PidMode": "host",
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            # To enter and take down the network of one that is ended takes SYS_ADMIN and NET_ADMIN.
            "CapAdd": ["KILL", "SYS_PTRACE", "SYS_ADMIN", "NET_ADMIN"],
            "Mounts": mounts,
        },
    }


def parse_env(lines: Iterable[str] | None) -> Mapping[str, str]:
    """The `NAME=value` lines of an image as a map."""
    return dict(line.split("=", 1) for line in lines or () if "=" in line)
