"""The interface to whatever runs containers. It knows containers and images, and nothing of sandboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sandlot_server.border.policy import Policy
from sandlot_server.build_models import Credentials

AGENT_PATH = "/opt/sandlot"
"""Where every container has the agent, with a Python of its own."""
AGENT_PYTHON = f"{AGENT_PATH}/bin/python3.11"


class Role(StrEnum):
    """What a container of ours is for; kept in a label."""

    SANDBOX = "sandbox"
    BUILD = "build"
    TOOL = "tool"


class Status(StrEnum):
    """What a container does."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """How to start a container that holds a sandbox."""

    name: str
    template_id: str
    build_id: str
    image: str
    control_token: str
    cpu_count: int
    memory_mb: int
    pids_limit: int
    role: Role = Role.SANDBOX


@dataclass(frozen=True, slots=True)
class Container:
    """A started container: where its agent listens and what its image declares."""

    name: str
    address: str
    agent_port: int
    image_id: str
    image_env: Mapping[str, str]

    @property
    def place(self) -> tuple[str, int]:
        """Where it is reached; no two that run share it."""
        return self.address, self.agent_port


@dataclass(frozen=True, slots=True)
class Counters:
    """What a container uses: CPU seconds so far, CPUs that it may use, bytes of memory and disk, and their limits."""

    cpu_s: float
    cpu_count: int
    mem_used: int
    mem_cache: int
    mem_total: int
    disk_used: int
    disk_total: int


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """One of our containers, as the engine knows it."""

    name: str
    role: str
    template_id: str
    build_id: str
    status: Status
    current: bool
    """Whether image and agent are still those that a new container would get."""


@dataclass(frozen=True, slots=True)
class Death:
    """A container ended, whoever ended it."""

    container: str
    reason: str
    stopped: bool = False
    """Whether it was stopped from outside, as when the engine or the host goes down: its files can go on."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """A container had no memory left: the kernel has killed one of its processes."""

    container: str


@dataclass(frozen=True, slots=True)
class Listening:
    """From here on nothing is missed; what was before may have been."""


Notice = Death | Shortage | Listening


@dataclass(frozen=True, slots=True)
class Capture:
    """What a container had changed when it was captured, ready to become an image."""

    image_id: str
    """The image that the container was made from."""
    layer: Path | None = None
    diff_id: str = ""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image and what its recipe says of it."""

    id: str
    labels: Mapping[str, str]


class Runtime(Protocol):
    """Runs containers of one installation; those of others it neither lists nor touches.

    Every method raises EngineUnavailable when the engine does not answer and EngineError when it refuses.
    """

    async def open(self) -> None:
        """Make the engine ready for sandboxes, isolation included; raises IsolationFailed where that cannot be."""

    async def close(self) -> None:
        """Let go of the engine; containers go on running."""

    async def start(self, spec: ContainerSpec) -> Container:
        """Create and start a container; its agent may not answer yet."""

    async def attach(self, name: str) -> Container:
        """Return a container that already runs or is paused; raises ContainerGone when it does neither."""

    async def remove(self, name: str) -> None:
        """End the container and remove all that belongs to it; nothing happens when there is none."""

    async def pause(self, name: str) -> None:
        """Stop every process of the container where it is, if it is not paused already.

        Raises ContainerGone when it has ended.
        """

    async def push_out(self, name: str) -> int:
        """Move the memory of a paused container to the host's swap; return the bytes that have left.

        Nothing happens where the host has no swap or this process may not do it. Unpausing ends it at once.
        """

    async def unpause(self, name: str) -> None:
        """Let a paused container go on, if it does not run already; raises ContainerGone when it has ended."""

    async def halt(self, name: str) -> None:
        """End every process of the container, but keep its files; raises ContainerGone when there is none."""

    async def boot(self, name: str) -> Container:
        """Start a halted container afresh on its files; its agent may not answer yet."""

    async def confine(self, container: Container, policy: Policy | None) -> None:
        """Let a container reach only what the policy allows, from now on; None lifts what held for it.

        Free of charge when nothing changes. Raises IsolationFailed, and then what held before goes on to hold.
        """

    async def confine_all(self, policies: Mapping[str, Policy]) -> None:
        """Confine all containers that were confined under an earlier server, in one step; by name.

        What held for them until now holds until then. Raises IsolationFailed.
        """

    async def read_log(self, name: str) -> str:
        """Return the end of what the container's process 1 has written, 4,000 lines at most."""

    async def list_containers(self) -> list[ContainerInfo]:
        """Return all containers of this installation, whatever they do."""

    async def capture(self, name: str) -> Capture:
        """Copy what the container has changed; it must stand still meanwhile.

        Raises ContainerGone, EngineError, and DiskFull when there is no room for the copy.
        """

    async def make_image(self, capture: Capture, build_id: str) -> str:
        """Turn a capture into an image that `build_id` names; return what to start containers from."""

    async def find_image(self, name: str) -> str | None:
        """Return the id of an image that the engine has under this name; None where it has none."""

    async def describe_image(self, name: str) -> ImageInfo | None:
        """Return what an image that the engine has under this name says of itself; None where it has none."""

    async def pull_image(self, name: str, credentials: Credentials | None) -> None:
        """Get an image from its registry; raises EngineError with what the registry said."""

    async def tag_image(self, image: str, build_id: str) -> str:
        """Have an image as one made here that `build_id` names; return what to start containers from."""

    async def list_images(self) -> list[str]:
        """Return the build ids of all images made here."""

    async def remove_image(self, build_id: str) -> None:
        """Remove an image made here, once no container needs it; nothing happens when there is none."""

    async def end_leftovers(self) -> list[str]:
        """End what runs on of containers that the engine counts as ended or removed, and return their names.

        Among them those that were woken: frozen, though the engine counts them as running. An engine that was killed
        can leave such. One that is being started or paused while this is called stays as it is.
        """

    async def explain_end(self, name: str) -> str:
        """Return why process 1 of a container that has ended did so; raises ContainerGone when there is none."""

    async def measure_disk(self, names: Sequence[str]) -> dict[str, int]:
        """Return the bytes that containers have written to their own disk.

        Those that are gone are left out, and those that could not be counted in a minute.
        """

    async def read_counters(self, names: Sequence[str]) -> dict[str, Counters]:
        """Return what containers use, without a word to them; those that cannot be seen from here are left out."""

    async def read_free_disk(self) -> int | None:
        """Return the bytes free on the disk that containers write to; None where that cannot be seen from here."""

    def watch(self) -> AsyncIterator[Notice]:
        """Yield Listening, and from then on what happens; raises EngineUnavailable when the engine goes away."""

    async def destroy(self, *, images: bool = False) -> int:
        """Remove all of this installation's containers, networks and firewall rules; returns how many containers.

        With `images` those made here go too, and with them the snapshots.
        """
