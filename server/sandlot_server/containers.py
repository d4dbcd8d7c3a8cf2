"""Containers from nothing to "its agent answers", and from there to "it is this sandbox"."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sandlot_server.agent import Agent
from sandlot_server.border.policy import parse_policy
from sandlot_server.errors import ContainerGone
from sandlot_server.identity import Identity
from sandlot_server.launching import launch
from sandlot_server.models import Context, Egress, Sandbox, Template, now
from sandlot_server.outfit import load_outfit
from sandlot_server.runtime.base import Container, ContainerSpec, Role, Runtime
from sandlot_server.settings import Settings
from sandlot_server.shell import Shell

log = logging.getLogger(__name__)

STARTS_AT_ONCE = 4
"""More containers starting at once than about twice the cores only make each of them slower."""


class Containers:
    """Makes containers that are ready to become sandboxes."""

    def __init__(self, runtime: Runtime, identity: Identity, settings: Settings) -> None:
        self._runtime = runtime
        self._identity = identity
        self._settings = settings
        self._outfit = load_outfit(settings)
        self._slots = asyncio.Semaphore(STARTS_AT_ONCE)
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._launched: set[str] = set()
        self._listeners: list[Callable[[Container], object]] = []

    def on_start(self, listener: Callable[[Container], object]) -> None:
        """Call `listener` with each container that has started, before anything is done with it."""
        self._listeners.append(listener)

    def new_name(self) -> str:
        """A name that no other container has."""
        return f"sandlot-{self._identity.installation}-{secrets.token_hex(6)}"

    def is_starting(self, name: str) -> bool:
        """Whether this container is being made at this moment."""
        return name in self._awaited or name in self._launched

    async def provision(self, name: str, template: Template, egress: Egress | None = None) -> Container:
        """Start a container, wait for its agent, and for what the template starts in it, which `egress` binds already.

        Raises EngineError, or AgentError when the agent or what is started does not come up; the caller then removes
        the container.
        """
        container = await self._open(name, template, Role.SANDBOX)
        if template.start is not None:
            await self.confine(container, egress)
            async with self._launching(name):
                await launch(await self._introduce(container, template), template.start)
        return container

    async def open_shell(self, name: str, template: Template, role: Role) -> Shell:
        """Start a container that is not to become a sandbox, and return a shell in it; raises as `provision` does."""
        return await self._introduce(await self._open(name, template, role), template)

    async def _introduce(self, container: Container, template: Template) -> Shell:
        """Tell an agent how programs run, before it knows whose they are."""
        await self.agent_of(container).init({**self._describe(template.context, container), **_stamp()})
        return Shell(container.address, container.agent_port)

    async def _open(self, name: str, template: Template, role: Role) -> Container:
        """Start a container and wait for its agent."""
        async with self._awaiting(name) as died:
            began = time.perf_counter()
            container = await self._runtime.start(self._specify(name, template, role))
            started = time.perf_counter()
            self._tell(container)
            # An address that was another's must not come with what held for that one.
            await self._runtime.confine(container, None)
            await self._wait_until_healthy(container, died)
        healthy = time.perf_counter()
        log.debug("%s: engine %.0f ms, agent %.0f ms", name, (started - began) * 1e3, (healthy - started) * 1e3)
        return container

    async def claim(self, container: Container, sandbox: Sandbox) -> None:
        """Make a container that waits be this sandbox: one call to its agent, after what it may reach is settled.

        Raises AgentError, IsolationFailed.
        """
        await self.confine(container, sandbox.spec.egress)
        values = {
            "sandboxID": sandbox.id,
            "templateID": sandbox.spec.template_id,
            "envVars": dict(sandbox.spec.env_vars),
            **self._describe(sandbox.spec.context, container),
            "bootID": sandbox.boot_id,
            **_stamp(),
        }
        if sandbox.spec.secure:
            values["accessToken"] = self._identity.envd_token(sandbox.id)
        await self.agent_of(container).init(values)

    async def confine(self, container: Container, egress: Egress | None) -> None:
        """Let a container reach what a request allows it; raises InvalidRequest, IsolationFailed."""
        await self._runtime.confine(container, parse_policy(egress))

    async def restart(self, container: Container, sandbox: Sandbox) -> None:
        """Start what the template starts, in a sandbox that has booted afresh; raises AgentError."""
        if sandbox.spec.start is not None:
            token = self._identity.envd_token(sandbox.id) if sandbox.spec.secure else None
            async with self._launching(container.name):
                await launch(Shell(container.address, container.agent_port, token), sandbox.spec.start)

    def agent_of(self, container: Container) -> Agent:
        """The agent in a container."""
        return Agent(container.address, container.agent_port, self._identity.control_token(container.name))

    async def read_metrics(self, container: Container, sandbox: Sandbox) -> dict[str, Any]:
        """What the sandbox uses, as its agent tells; raises AgentError."""
        token = self._identity.envd_token(sandbox.id) if sandbox.spec.secure else None
        return await self.agent_of(container).read_metrics(token)

    async def is_alive(self, name: str) -> bool:
        """Whether the container runs or is paused; raises EngineError."""
        try:
            await self._runtime.attach(name)
        except ContainerGone:
            return False
        return True

    async def is_healthy(self, container: Container) -> bool:
        """Whether the agent of a container answers now."""
        return await self.agent_of(container).is_healthy()

    async def boot(self, name: str) -> Container:
        """Start a container that was shut down, and wait for its agent; raises as `provision` does."""
        async with self._slots:
            container = await self._runtime.boot(name)
            self._tell(container)
        # Awaited only from here on: news of the death that came before the boot may still be under way.
        async with self._awaiting(name) as died:
            await self._wait_until_healthy(container, died)
        return container

    async def note_death(self, name: str, reason: str) -> None:
        """Do not go on waiting for the agent of a container that has ended, unless it runs again."""
        died = self._awaited.get(name)
        if died is not None and not await self.is_alive(name) and not died.done():
            died.set_exception(ContainerGone(f"the container ended before its agent answered: {reason}"))

    def _tell(self, container: Container) -> None:
        for listener in self._listeners:
            listener(container)

    @asynccontextmanager
    async def _launching(self, name: str) -> AsyncIterator[None]:
        """Count the container as being made, although its agent answers; others may start meanwhile."""
        self._launched.add(name)
        try:
            yield
        finally:
            self._launched.discard(name)

    @asynccontextmanager
    async def _awaiting(self, name: str) -> AsyncIterator[asyncio.Future[None]]:
        """Have a slot to start this container in, and a future that fails when the container ends meanwhile."""
        self._awaited[name] = died = asyncio.get_running_loop().create_future()
        try:
            async with self._slots:
                yield died
        finally:
            del self._awaited[name]
            if died.done():
                died.exception()  # seen, so that the loop does not report it as forgotten
            died.cancel()

    async def _wait_until_healthy(self, container: Container, died: asyncio.Future[None]) -> None:
        waiting = asyncio.ensure_future(self.agent_of(container).wait_until_healthy(self._settings.agent_start_s))
        try:
            await asyncio.wait({waiting, died}, return_when=asyncio.FIRST_COMPLETED)
            await (waiting if waiting.done() else died)
        finally:
            waiting.cancel()

    def _describe(self, context: Context, container: Container) -> dict[str, Any]:
        """What the agent is to know of the programs that it will start."""
        env = {**self._outfit.env, **container.image_env, **context.env}
        values: dict[str, Any] = {"imageEnv": env, "defaultUser": context.user}
        if context.workdir is not None:
            values["defaultWorkdir"] = context.workdir
        if self._outfit.ca_bundle is not None:
            values["caBundle"] = self._outfit.ca_bundle
        return values

    def _specify(self, name: str, template: Template, role: Role) -> ContainerSpec:
        return ContainerSpec(
            name=name,
            role=role,
            template_id=template.id,
            build_id=template.build_id,
            image=template.image,
            control_token=self._identity.control_token(name),
            cpu_count=template.cpu_count,
            memory_mb=template.memory_mb,
            pids_limit=self._settings.pids_limit,
        )


def _stamp() -> dict[str, str]:
    """The moment of a call to /init: the agent ignores one that is older than the last."""
    return {"timestamp": now().isoformat()}
