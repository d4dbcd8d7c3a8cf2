"""Containers of a Docker engine. Only this module and its neighbours, `docker_*`, talk to Docker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import docker
import requests
from docker.errors import APIError

from sandlot_protocol.http import ENVD_PORT
from sandlot_server.border.border import Border
from sandlot_server.border.policy import Policy
from sandlot_server.build_models import Credentials
from sandlot_server.errors import ContainerGone, EngineError, EngineUnavailable
from sandlot_server.runtime.base import (
    Capture,
    Container,
    ContainerInfo,
    ContainerSpec,
    Counters,
    ImageInfo,
    Notice,
    Role,
    Status,
)
from sandlot_server.runtime.boot_ids import give_boot_id, is_of_this_host
from sandlot_server.runtime.container_config import (
    BUILD_LABEL,
    INSTALLATION_LABEL,
    ROLE_LABEL,
    TEMPLATE_LABEL,
    Placement,
    make_config,
    parse_env,
)
from sandlot_server.runtime.docker_client import connect, find_agent, remove_container, telling_errors
from sandlot_server.runtime.docker_counters import CounterReader
from sandlot_server.runtime.docker_disk import DiskMeter
from sandlot_server.runtime.docker_events import EventStream, explain
from sandlot_server.runtime.docker_images import ImageMaker
from sandlot_server.runtime.docker_leftovers import Leftovers
from sandlot_server.runtime.docker_network import DockerNetwork
from sandlot_server.runtime.firewall import Place
from sandlot_server.runtime.swap import SwapOut, can_push, find_group, read_swap
from sandlot_server.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

CALL_S = 120
LOG_LINES = 4000
SLOW_THREADS = 4
SETTLE_S = 20
MIB = 1024 * 1024
SETTLE_PAUSE_S = 0.1
STATUSES = {
    "created": Status.CREATED,
    "running": Status.RUNNING,
    "restarting": Status.RUNNING,
    "paused": Status.PAUSED,
}


class DockerEngine:
    """The containers of one installation on the engine that the environment names."""

    def __init__(self, settings: Settings, installation: str) -> None:
        self._settings = settings
        self._installation = installation
        self._network = DockerNetwork(lambda: self._engine, installation, settings.base_image)
        self._threads = ThreadPoolExecutor(settings.engine_threads, thread_name_prefix="docker")
        # Removals and copies are slow and nobody waits for them: they must not stand before a create or a pause.
        self._slow_threads = ThreadPoolExecutor(SLOW_THREADS, thread_name_prefix="docker-slow")
        self._client: docker.APIClient | None = None
        self._placement: Placement | None = None
        self._swap = SwapOut()
        self._one_push = asyncio.Semaphore(1)
        self._disk = DiskMeter(lambda: self._engine)
        self._counters = CounterReader(lambda: self._engine, self._disk)
        self._border: Border | None = None
        self._leftovers = Leftovers(lambda: self._engine, installation, settings.base_image)
        self._images = ImageMaker(
            lambda: self._engine,
            installation,
            settings.home / "layers",
            keep_free=settings.min_free_disk_mb * MIB,
        )

    async def open(self) -> None:
        """Find agent and base image, make network and firewall; raises IsolationFailed, EngineError."""
        place = await self._run(self._prepare)
        self._border = Border(self._settings, self._network.make_firewall(place), place)
        await self._border.open()

    async def close(self) -> None:
        """Let go of the engine."""
        if self._border is not None:
            await self._border.close()
        if self._client is not None:
            self._client.close()
        for threads in (self._threads, self._slow_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    async def start(self, spec: ContainerSpec) -> Container:
        """Create and start; three calls to the engine."""
        return await self._run(lambda: self._start(spec))

    async def attach(self, name: str) -> Container:
        """Look the container up."""
        return await self._run(lambda: self._describe(name))

    async def remove(self, name: str) -> None:
        """Kill and remove, anonymous volumes included."""
        await self._run(lambda: self._remove(name), slow=True)
        self._counters.forget(name)
        await self._release(name)

    async def pause(self, name: str) -> None:
        """Freeze the container's cgroup."""
        await self._run(lambda: self._pause(name))

    async def push_out(self, name: str) -> int:
        """Let the kernel reclaim the container's memory, one container after the other."""
        if not can_push() or read_swap()[1] == 0:
            return 0
        self._swap.begin(name)
        async with self._one_push:
            return await self._run(lambda: self._push_out(name), slow=True)

    async def unpause(self, name: str) -> None:
        """Thaw the container's cgroup."""
        await self._run(lambda: self._unpause(name))

    async def halt(self, name: str) -> None:
        """Kill process 1 and wait for the end."""
        await self._run(lambda: self._halt(name))
        await self._release(name)

    async def boot(self, name: str) -> Container:
        """Start the container again."""
        return await self._run(lambda: self._start_again(name))

    async def confine(self, container: Container, policy: Policy | None) -> None:
        """Change the rules for the container's address; no call to the engine."""
        assert self._border is not None, "open() comes first"
        await self._border.confine(container.address, container.name, policy)

    async def confine_all(self, policies: Mapping[str, Policy]) -> None:
        """Change the rules for the addresses of those that run or are paused."""
        assert self._border is not None, "open() comes first"
        alive = {info.name for info in await self.list_containers() if info.status in (Status.RUNNING, Status.PAUSED)}
        addresses = {(await self.attach(name)).address: name for name in alive & policies.keys()}
        await self._border.confine_all({address: (name, policies[name]) for address, name in addresses.items()})

    async def _release(self, name: str) -> None:
        if self._border is not None:
            await self._border.release(name)

    async def read_log(self, name: str) -> str:
        """Return the end of the container's log."""
        return await self._run(lambda: str(self._engine.logs(name, tail=LOG_LINES), errors="replace"))

    async def list_containers(self) -> list[ContainerInfo]:
        """Return all containers with our label."""
        return await self._run(lambda: [self._summarise(found) for found in self._find_all()])

    async def capture(self, name: str) -> Capture:
        """Copy the upper folder of the container's overlay."""
        assert self._placement is not None, "open() comes first"
        volume = self._placement.agent_volume
        return await self._run(lambda: self._images.capture(name, volume), slow=True)

    async def make_image(self, capture: Capture, build_id: str) -> str:
        """Load the capture as one layer on top of the container's image."""
        return await self._run(lambda: self._images.make(capture, build_id), slow=True)

    async def find_image(self, name: str) -> str | None:
        """Look the image up."""
        return await self._run(lambda: self._images.find(name))

    async def describe_image(self, name: str) -> ImageInfo | None:
        """Look at the image's configuration."""
        return await self._run(lambda: self._images.describe(name))

    async def pull_image(self, name: str, credentials: Credentials | None) -> None:
        """Pull, which may take minutes."""
        await self._run(lambda: self._images.pull(name, credentials), slow=True)

    async def tag_image(self, image: str, build_id: str) -> str:
        """Give the image another name."""
        return await self._run(lambda: self._images.tag(image, build_id))

    async def list_images(self) -> list[str]:
        """Return the tags of our repository."""
        return await self._run(self._images.list_builds)

    async def remove_image(self, build_id: str) -> None:
        """Remove the tag, and with it all that only it needs."""
        await self._run(lambda: self._images.remove(build_id), slow=True)

    async def end_leftovers(self) -> list[str]:
        """Look at all processes of the engine's host, from a container."""
        assert self._placement is not None, "open() comes first"
        volume = self._placement.agent_volume
        return await self._run(lambda: self._leftovers.end(volume), slow=True)

    async def explain_end(self, name: str) -> str:
        """Return what the engine noted of the end."""
        state = (await self._run(lambda: self._engine.inspect_container(name)))["State"]
        return explain(str(state["ExitCode"]), short_of_memory=state["OOMKilled"])

    async def measure_disk(self, names: Sequence[str]) -> dict[str, int]:
        """Count the upper folders of the overlays; where they cannot be seen, let the engine count."""
        return await self._run(lambda: self._disk.measure(names), slow=True)

    async def read_counters(self, names: Sequence[str]) -> dict[str, Counters]:
        """Read the control groups, where the engine's host is this one."""
        return await self._run(lambda: self._counters.read(names), slow=True)

    async def read_free_disk(self) -> int | None:
        """Look at the engine's folder, when the engine is on this host and the folder shows."""
        return await self._run(self._disk.read_free)

    async def watch(self) -> AsyncIterator[Notice]:
        """Yield what the engine's event stream tells."""
        with telling_errors():
            stream = EventStream(connect(timeout=None), {INSTALLATION_LABEL: self._installation})
            async for notice in stream.follow():
                yield notice
        raise EngineUnavailable("the event stream of the Docker engine ended")

    async def destroy(self, *, images: bool = False) -> int:
        """Remove containers, then the firewall's rules and the network, then images."""
        removed = await self._remove_all()
        deadline = time.monotonic() + SETTLE_S
        while not await self._run(self._network.remove):
            # The engine finishes what a server asked for that has died: a container can still come up.
            if time.monotonic() > deadline:
                attached = ", ".join(await self._run(self._network.list_attached)) or "nothing the engine can name"
                raise EngineError(f"network {self._network.name} is still in use after {SETTLE_S} s, by {attached}")
            await asyncio.sleep(SETTLE_PAUSE_S)
            removed += await self._remove_all()
        for build_id in await self.list_images() if images else ():
            await self.remove_image(build_id)
        return removed

    async def _remove_all(self) -> int:
        names = [_name(found) for found in await self._run(self._find_all)]
        await asyncio.gather(*(self.remove(name) for name in names))
        return len(names)

    @property
    def _engine(self) -> Any:  # the SDK's types leave out half of its methods
        if self._client is None:
            self._client = connect(timeout=CALL_S)
        return self._client

    async def _run(self, work: Callable[[], T], *, slow: bool = False) -> T:
        def translated() -> T:
            with telling_errors():
                return work()

        return await asyncio.get_running_loop().run_in_executor(
            self._slow_threads if slow else self._threads, translated
        )

    def _prepare(self) -> Place:
        self._images.clear()
        self._engine.inspect_image(self._settings.base_image)
        place = self._network.ensure()
        self._placement = Placement(
            installation=self._installation,
            network=self._network.name,
            gateway=place.gateway,
            agent_volume=self._settings.agent_volume or find_agent(self._engine),
            cpus=int(self._engine.info()["NCPU"]),
        )
        return place

    def _start(self, spec: ContainerSpec) -> Container:
        assert self._placement is not None, "open() comes first"
        self._engine.create_container_from_config(make_config(spec, self._placement), spec.name)
        return self._start_again(spec.name)

    def _start_again(self, name: str) -> Container:
        self._engine.start(name)
        found = self._inspect_running(name)
        give_boot_id(found["State"]["Pid"])
        return self._shape(name, found)

    def _inspect_running(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._engine.inspect_container(name)
        if not found["State"]["Running"]:
            raise ContainerGone(f"container {name} does not run")
        return found

    def _describe(self, name: str) -> Container:
        return self._shape(name, self._inspect_running(name))

    def _shape(self, name: str, found: dict[str, Any]) -> Container:
        image = self._engine.inspect_image(found["Image"])
        return Container(
            name=name,
            address=found["NetworkSettings"]["Networks"][self._network.name]["IPAddress"],
            agent_port=ENVD_PORT,
            image_id=found["Image"],
            image_env=parse_env(image["Config"].get("Env")),
        )

    def _push_out(self, name: str) -> int:
        try:
            state = self._engine.inspect_container(name)["State"]
            group = find_group(state["Pid"]) if state["Paused"] and is_of_this_host(state["Pid"]) else None
            return 0 if group is None else self._swap.push(name, group)
        finally:
            self._swap.stop(name)

    def _pause(self, name: str) -> None:
        try:
            self._engine.pause(name)
        except APIError as error:
            if "is already paused" not in str(error.explanation):
                raise

    def _unpause(self, name: str) -> None:
        self._swap.stop(name)
        try:
            self._engine.unpause(name)
        except APIError as error:
            if "is not paused" not in str(error.explanation):
                raise
            self._inspect_running(name)  # the same is said of one that has ended

    def _remove(self, name: str) -> None:
        self._swap.stop(name)
        remove_container(self._engine, name)

    def _halt(self, name: str) -> None:
        self._swap.stop(name)
        try:
            self._engine.kill(name)
        except APIError as error:
            if error.status_code != requests.codes.conflict:
                raise
        self._engine.wait(name)

    def _find_all(self) -> list[dict[str, Any]]:
        label = f"{INSTALLATION_LABEL}={self._installation}"
        found: list[dict[str, Any]] = self._engine.containers(all=True, filters={"label": label})
        return found

    def _summarise(self, found: dict[str, Any]) -> ContainerInfo:
        labels = found["Labels"]
        mounted = {mount.get("Name") for mount in found["Mounts"]}
        return ContainerInfo(
            name=_name(found),
            role=labels.get(ROLE_LABEL, Role.TOOL),
            template_id=labels.get(TEMPLATE_LABEL, ""),
            build_id=labels.get(BUILD_LABEL, ""),
            status=STATUSES.get(found["State"], Status.EXITED),
            # The engine names the image by its id once the tag means another one.
            current=self._placement is not None
            and self._placement.agent_volume in mounted
            and found["Image"] not in found["ImageID"],
        )


def _name(found: dict[str, Any]) -> str:
    return str(found["Names"][0]).removeprefix("/")
