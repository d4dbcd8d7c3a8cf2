"""A runtime without containers: each one is an HTTP server in this process that answers as an agent would.

It is shipped so that everything above the runtime can be tried in milliseconds, failures included.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from sandlot_server.border.policy import Policy
from sandlot_server.build_models import Credentials
from sandlot_server.errors import ContainerGone, EngineError, EngineUnavailable
from sandlot_server.runtime.base import (
    Capture,
    Container,
    ContainerInfo,
    ContainerSpec,
    Counters,
    Death,
    ImageInfo,
    Listening,
    Notice,
    Shortage,
    Status,
)
from sandlot_server.runtime.memory_agent import Decide, MemoryAgent, succeed

PREFIX = "snapshot:"
Hook = Callable[[str, str], None]
"""Called with the operation and the container's name before each operation; what it raises is what happens."""


class _Box:
    """One pretended container."""

    def __init__(self, spec: ContainerSpec, agent: MemoryAgent) -> None:
        self.spec = spec
        self.agent = agent
        self.status = Status.CREATED
        self.end = "it never ran"


class MemoryRuntime:
    """Pretended containers.

    `before` may raise to make an operation fail, `start_delay_s` makes starting slow, and `decide` says how the
    commands in them end.
    """

    def __init__(self, *, before: Hook | None = None, start_delay_s: float = 0) -> None:
        self.before = before or (lambda operation, name: None)
        self.decide: Decide = succeed
        self._start_delay_s = start_delay_s
        self.used_disk: dict[str, int] = {}
        """Bytes that containers have written, by name."""
        self.counters: dict[str, Counters] = {}
        self.described: dict[str, ImageInfo] = {}
        self.free_disk: int | None = None
        self.memory_each = 0
        """Bytes that leave memory when a container is pushed out."""
        self._boxes: dict[str, _Box] = {}
        self._images: set[str] = set()
        self.policies: dict[str, Policy] = {}
        self._watchers: set[asyncio.Queue[Notice | None]] = set()

    async def open(self) -> None:
        """Nothing to make ready."""

    async def close(self) -> None:
        """Pretended containers go on, as real ones would."""

    async def start(self, spec: ContainerSpec) -> Container:
        """Start an agent on a port of its own."""
        self.before("start", spec.name)
        if spec.name in self._boxes:
            raise EngineError(f"there is a container {spec.name} already")
        box = self._boxes[spec.name] = _Box(spec, self._make_agent(spec))
        await asyncio.sleep(self._start_delay_s)
        self.before("started", spec.name)
        await box.agent.start()
        box.status = Status.RUNNING
        return self._describe(box)

    async def attach(self, name: str) -> Container:
        """Return the container when its agent runs."""
        self.before("attach", name)
        return self._describe(self._find(name))

    async def remove(self, name: str) -> None:
        """End the agent and forget it."""
        self.before("remove", name)
        box = self._boxes.get(name)
        if box is None:
            return
        await self._end(box, "killed")
        self._boxes.pop(name, None)
        self.policies.pop(name, None)

    async def pause(self, name: str) -> None:
        """The agent stops answering."""
        self.before("pause", name)
        box = self._find(name)
        box.agent.freeze()
        box.status = Status.PAUSED

    async def push_out(self, name: str) -> int:
        """Pretend that `memory_each` bytes have left."""
        self.before("push_out", name)
        box = self._boxes.get(name)
        return self.memory_each if box is not None and box.status is Status.PAUSED else 0

    async def unpause(self, name: str) -> None:
        """The agent answers again, what it was asked meanwhile too."""
        self.before("unpause", name)
        box = self._find(name)
        box.agent.thaw()
        box.status = Status.RUNNING

    async def halt(self, name: str) -> None:
        """End the agent and keep the container."""
        self.before("halt", name)
        box = self._boxes.get(name)
        if box is None:
            raise ContainerGone(f"there is no container {name}")
        await self._end(box, "halted")

    async def boot(self, name: str) -> Container:
        """Start a new agent in the container."""
        self.before("boot", name)
        box = self._boxes.get(name)
        if box is None:
            raise ContainerGone(f"there is no container {name}")
        box.agent = self._make_agent(box.spec)
        await box.agent.start()
        box.status = Status.RUNNING
        return self._describe(box)

    async def confine(self, container: Container, policy: Policy | None) -> None:
        """Note the policy."""
        self.before("confine", container.name)
        self.policies.pop(container.name, None)
        if policy is not None:
            self.policies[container.name] = policy

    async def confine_all(self, policies: Mapping[str, Policy]) -> None:
        """Note the policies."""
        self.policies = dict(policies)

    async def read_log(self, name: str) -> str:
        """Return one line for each call that the agent answered."""
        box = self._boxes.get(name)
        if box is None:
            raise ContainerGone(f"there is no container {name}")
        return "".join(f"answered {call}\n" for call in box.agent.calls)

    async def list_containers(self) -> list[ContainerInfo]:
        """Return all containers."""
        self.before("list", "")
        return [
            ContainerInfo(
                name=box.spec.name,
                role=box.spec.role,
                template_id=box.spec.template_id,
                build_id=box.spec.build_id,
                status=box.status,
                current=True,
            )
            for box in self._boxes.values()
        ]

    async def capture(self, name: str) -> Capture:
        """Pretend to copy."""
        self.before("capture", name)
        box = self._boxes.get(name)
        if box is None:
            raise ContainerGone(f"there is no container {name}")
        return Capture(box.spec.image)

    async def make_image(self, capture: Capture, build_id: str) -> str:
        """Note the image."""
        self.before("make_image", build_id)
        self._images.add(build_id)
        return f"{PREFIX}{build_id}"

    async def find_image(self, name: str) -> str | None:
        """Every name is an image, apart from those that say otherwise."""
        self.before("find_image", name)
        missing = name.startswith("missing") or (name.startswith(PREFIX) and name[len(PREFIX) :] not in self._images)
        return None if missing else f"id:{name}"

    async def describe_image(self, name: str) -> ImageInfo | None:
        """Return what `described` says."""
        self.before("describe_image", name)
        return self.described.get(name)

    async def pull_image(self, name: str, credentials: Credentials | None) -> None:
        """There is no registry."""
        self.before("pull_image", name)
        raise EngineError(f"{name} could not be pulled: there is no registry")

    async def tag_image(self, image: str, build_id: str) -> str:
        """Note the image."""
        self.before("tag_image", build_id)
        self._images.add(build_id)
        return f"{PREFIX}{build_id}"

    async def list_images(self) -> list[str]:
        """Return all images."""
        return sorted(self._images)

    async def remove_image(self, build_id: str) -> None:
        """Forget the image."""
        self.before("remove_image", build_id)
        self._images.discard(build_id)

    async def end_leftovers(self) -> list[str]:
        """Note that it was asked for: what is in memory cannot be forgotten."""
        self.before("end_leftovers", "")
        return []

    async def explain_end(self, name: str) -> str:
        """Return the reason that the end was given."""
        box = self._boxes.get(name)
        if box is None:
            raise ContainerGone(f"there is no container {name}")
        return box.end

    async def measure_disk(self, names: Sequence[str]) -> dict[str, int]:
        """Return what `used_disk` says."""
        self.before("measure_disk", " ".join(names))
        return {name: self.used_disk.get(name, 0) for name in names if name in self._boxes}

    async def read_counters(self, names: Sequence[str]) -> dict[str, Counters]:
        """Return what `counters` says."""
        return {name: self.counters[name] for name in names if name in self.counters}

    async def read_free_disk(self) -> int | None:
        """Return what `free_disk` says."""
        return self.free_disk

    async def watch(self) -> AsyncIterator[Notice]:
        """Yield deaths and shortages."""
        queue: asyncio.Queue[Notice | None] = asyncio.Queue()
        queue.put_nowait(Listening())
        self._watchers.add(queue)
        try:
            while (notice := await queue.get()) is not None:
                yield notice
        finally:
            self._watchers.discard(queue)
        raise EngineUnavailable("nobody tells anything any more")

    async def destroy(self, *, images: bool = False) -> int:
        """Remove everything."""
        if images:
            self._images.clear()
        names = list(self._boxes)
        for name in names:
            await self.remove(name)
        return len(names)

    async def crash(self, name: str, reason: str = "process 1 ended", *, stopped: bool = False) -> None:
        """Let a container die by itself, or because it is stopped from outside."""
        await self._end(self._find(name), reason, stopped=stopped)

    def lose_watchers(self) -> None:
        """Let everyone who watches miss what comes next, as an engine that restarts does."""
        for queue in self._watchers:
            queue.put_nowait(None)
        self._watchers.clear()

    def starve(self, name: str) -> None:
        """Let a container run out of memory and live on."""
        self._tell(Shortage(name))

    async def vanish(self, name: str) -> None:
        """Let a container disappear without a word, as while nobody listens to the engine."""
        box = self._boxes.pop(name)
        await box.agent.stop()

    def agent(self, name: str) -> MemoryAgent:
        """The agent of a container, to look at what it was told."""
        return self._find(name).agent

    def _make_agent(self, spec: ContainerSpec) -> MemoryAgent:
        return MemoryAgent(spec.control_token, lambda argv: self.decide(argv))

    def _find(self, name: str) -> _Box:
        box = self._boxes.get(name)
        if box is None or box.status not in (Status.RUNNING, Status.PAUSED):
            raise ContainerGone(f"container {name} does not run")
        return box

    def _describe(self, box: _Box) -> Container:
        return Container(
            name=box.spec.name,
            address="127.0.0.1",
            agent_port=box.agent.port,
            image_id=box.spec.image,
            image_env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        )

    async def _end(self, box: _Box, reason: str, *, stopped: bool = False) -> None:
        await box.agent.stop()
        box.status, box.end = Status.EXITED, reason
        self._tell(Death(box.spec.name, reason, stopped))

    def _tell(self, notice: Notice) -> None:
        for queue in self._watchers:
            queue.put_nowait(notice)
