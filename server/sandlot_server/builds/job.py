"""One build: from a base, step by step, to a template that sandboxes start from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.resources import files

from sandlot_server.build_models import Build, Layer, Plan, Step
from sandlot_server.builds.archives import Archives
from sandlot_server.builds.layers import LayerCache, chain, name_image
from sandlot_server.builds.log import Log
from sandlot_server.builds.steps import Scene, take
from sandlot_server.builds.workbench import Workbench
from sandlot_server.containers import Containers
from sandlot_server.errors import AgentError, BuildFailed, CommandRefused, Forbidden, NotFound, SandlotError
from sandlot_server.images import Images
from sandlot_server.launching import wait_until_ready
from sandlot_server.models import Context, Start, Template, now
from sandlot_server.removal import Remover
from sandlot_server.runtime.base import Runtime
from sandlot_server.settings import Settings
from sandlot_server.shell import OnOutput, Shell
from sandlot_server.templates import BASE_NAMES, Catalogue

log = logging.getLogger(__name__)

PROVISION = (files("sandlot_server.builds") / "provision.sh").read_text()
OWN_IMAGES = "sandlot/build-"
"""Images of templates and layers, of all teams: who may use one is a matter of its template."""
DEFAULT_READY = "sleep 20"
"""What E2B waits for when there is a start command and no ready command."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every build works with."""

    settings: Settings
    runtime: Runtime
    containers: Containers
    remover: Remover
    resolve: Callable[[str, str], Awaitable[Template]]
    catalogue: Catalogue
    layers: LayerCache
    images: Images
    archives: Archives


@dataclass(frozen=True, slots=True)
class Position:
    """How far a build has come: the files, the hash of what led to them, and what holds for the next step."""

    image: str
    key: str
    context: Context = field(default_factory=Context)
    start: Start | None = None


class Job:
    """Runs one build once."""

    def __init__(self, tools: Tools, build: Build, plan: Plan, build_log: Log) -> None:
        self._tools = tools
        self._build = build
        self._plan = plan
        self._log = build_log
        self._bench = Workbench(runtime=tools.runtime, containers=tools.containers, remover=tools.remover)
        self._forced = plan.force
        self._held = ExitStack()

    async def run(self) -> Template:
        """Return the template, saved under all tags of the build. Raises BuildFailed with the step that failed.

        No container is left, whatever happens, and no image that nothing can use.
        """
        with self._held:
            try:
                return await self._run()
            finally:
                self._bench.close()

    async def _run(self) -> Template:
        self._log.add(f"Building template {self._build.template_id}/{self._build.id}")
        with _naming_step("base"):
            position = await self._begin()
        for number, step in enumerate(self._plan.steps, 1):
            with _naming_step(str(number)):
                position = await self._take(step, number, position)
        with _naming_step("finalize"):
            return await self._finish(position)

    async def _begin(self) -> Position:
        if self._plan.from_template is not None:
            return await self._begin_with_template(self._plan.from_template)
        name = self._plan.from_image or ""
        if name.startswith(OWN_IMAGES):
            raise BuildFailed(f"image '{name}' is what a template is made of here: build from the template instead")
        is_base = name in BASE_NAMES
        image = self._tools.settings.base_image if is_base else name
        image_id = await self._find_image(image)
        if is_base:
            self._log.add(f"[base] FROM {name} [{_short(image_id)}]", "base")
            return Position(image_id, chain("base", image_id))
        return await self._provision(name, image_id)

    async def _begin_with_template(self, reference: str) -> Position:
        try:
            template = await self._tools.resolve(reference, self._build.team)
        except (NotFound, Forbidden) as error:
            raise BuildFailed(f"base template '{reference}' not found: {error}") from error
        self._log.add(f"[base] FROM TEMPLATE {reference} [{_short(template.build_id)}]", "base")
        key = chain("template", await self._find_image(template.image), repr(template.context))
        return Position(template.image, key, template.context, template.start)

    async def _find_image(self, name: str) -> str:
        """Return the id of an image: the engine's own, or the registry's where there is none, or when forced."""
        runtime = self._tools.runtime
        known = await runtime.find_image(name)
        is_ours = name == self._tools.settings.base_image or self._plan.from_template is not None
        if known is None or (self._plan.force and not is_ours):
            try:
                self._log.add(f"[base] pulling {name}", "base")
                await runtime.pull_image(name, self._plan.credentials)
            except SandlotError as error:
                if known is None:
                    raise BuildFailed(str(error)) from error
                self._log.add(f"[base] {error}; the one that is here is used", "base", "warn")
            known = await runtime.find_image(name)
        if known is None:
            raise BuildFailed(f"image '{name}' not found")
        return known

    async def _provision(self, name: str, image_id: str) -> Position:
        packages = "yes" if self._tools.settings.provision_packages else "no"
        position = Position(image_id, chain("provision", image_id, sha256(PROVISION.encode()).hexdigest(), packages))
        cached = await self._find_layer(position.key, f"[base] FROM {name}", "base")
        if cached is not None:
            return replace(position, image=cached.image)
        shell = await self._open(position)
        said = self._say("base", "base")
        try:
            end = await shell.run_program(["/bin/sh", "-c", PROVISION, "sh", packages], said)
        except CommandRefused as error:
            self._log.add(f"[base] the image has no shell, so steps cannot run in it ({error})", "base", "warn")
            return replace(position, context=Context(user="root"))
        if end.code != 0:
            raise BuildFailed(f"the image could not be prepared: {end.status}")
        return await self._keep(position)

    async def _take(self, step: Step, number: int, before: Position) -> Position:
        key = chain(before.key, self._build.team, step.kind, *step.args, step.files_hash or "")
        prefix = f"builder {number}/{len(self._plan.steps)}"
        self._forced |= step.force
        cached = await self._find_layer(key, f"[{prefix}] {step.text}", str(number))
        if cached is not None:
            self._bench.close()
            return replace(before, key=key, image=cached.image, context=cached.context)
        scene = Scene(
            context=before.context,
            open_shell=lambda: self._open(before),
            find_archive=lambda files_hash: self._tools.archives.find(self._build.team, files_hash),
            on_output=self._say(prefix, str(number)),
        )
        outcome = await take(step, scene)
        after = replace(before, key=key, context=outcome.context)
        if outcome.changed:
            return await self._keep(after)
        await self._remember(after)
        return after

    async def _find_layer(self, key: str, text: str, step: str) -> Layer | None:
        cached = None if self._forced else await self._tools.layers.find(key, self._build.template_id)
        self._log.add(f"{'CACHED ' if cached else ''}{text} [{_short(key)}]", step)
        return cached

    async def _keep(self, position: Position) -> Position:
        """Have what is in the container as the image of this position."""
        self._held.enter_context(self._tools.images.hold(name_image(position.key)))
        kept = replace(position, image=await self._bench.keep(name_image(position.key)))
        await self._remember(kept)
        return kept

    async def _remember(self, position: Position) -> None:
        layer = Layer(position.key, position.image, position.context, self._build.template_id, now())
        await self._tools.layers.save(layer)

    async def _open(self, position: Position) -> Shell:
        return await self._bench.open(self._describe(position, position.image))

    async def _finish(self, position: Position) -> Template:
        self._held.enter_context(self._tools.images.hold(self._build.id))
        plan = self._plan
        if plan.start_command or plan.ready_command:
            start = Start(plan.start_command, plan.ready_command, position.context)
            position = replace(position, start=start)
        self._bench.close()
        if position.start is not None:
            await self._try_start(position, position.start)
        image = await self._tools.runtime.tag_image(position.image, self._build.id)
        template = self._describe(position, image)
        for tag in self._build.tags:
            await self._tools.catalogue.save(replace(template, tag=tag))
        return template

    async def _try_start(self, position: Position, start: Start) -> None:
        """See that the start command comes up, in a container that is thrown away: every sandbox runs it anew."""
        shell = await self._open(position)
        ready = start.ready or (DEFAULT_READY if start.command else "")
        self._log.add(f"Running start command: {start.command}", "finalize")
        running = asyncio.ensure_future(self._run_start(shell, start))
        waiting = asyncio.ensure_future(wait_until_ready(shell, replace(start, ready=ready)))
        self._log.add(f"Waiting for template to be ready: {ready}", "finalize")
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            await waiting
        except AgentError as error:
            raise BuildFailed(f"ready command failed: {error}") from error
        finally:
            running.cancel()
            waiting.cancel()
            await asyncio.wait({running, waiting})
        self._log.add("Template is ready", "finalize")

    async def _run_start(self, shell: Shell, start: Start) -> None:
        if not start.command:
            return
        end = await shell.run(start.command, start.context, self._say("start", "finalize"))
        if end.code != 0:
            raise BuildFailed(f"start command failed: error running start command: {end.status}")

    def _say(self, prefix: str, step: str) -> OnOutput:
        return lambda stream, text: self._log.add_output(prefix, stream, text, step)

    def _describe(self, position: Position, image: str) -> Template:
        known = self._tools.catalogue.find(self._build.template_id)
        return Template(
            id=self._build.template_id,
            build_id=self._build.id,
            names=(self._build.name,),
            image=image,
            cpu_count=self._build.cpu_count,
            memory_mb=self._build.memory_mb,
            created_at=now(),
            context=position.context,
            start=position.start,
            public=known.public if known else False,
            team=self._build.team,
        )


def _short(key: str) -> str:
    return key.removeprefix("sha256:")[:12]


@contextmanager
def _naming_step(step: str) -> Iterator[None]:
    """Have every failure name the step it happened at."""
    try:
        yield
    except BuildFailed as error:
        error.step = error.step or step
        raise
    except SandlotError as error:
        log.warning("a build failed at step %s: %s", step, error)
        raise BuildFailed(str(error), step) from error
