"""All builds of templates: asked for, started, followed, replaced by newer ones, and over."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace

from sandlot_server.build_models import Build, BuildLog, BuildStatus, Plan, Reason
from sandlot_server.builds.archives import Archives
from sandlot_server.builds.job import Job, Tools
from sandlot_server.builds.layers import LayerCache
from sandlot_server.builds.log import Log
from sandlot_server.errors import BuildFailed, CapacityExceeded, Forbidden, InvalidRequest, NotFound
from sandlot_server.host_disk import HostDisk
from sandlot_server.models import DEFAULT_TAG, new_template_id, now
from sandlot_server.pool import Pool
from sandlot_server.settings import Settings
from sandlot_server.store.base import Store
from sandlot_server.tasks import Tasks
from sandlot_server.templates import Catalogue, is_built_in

log = logging.getLogger(__name__)

SUPERSEDED = "The build was canceled because it was superseded by a newer one."
DELETED = "The build was canceled because its template was deleted."
INTERRUPTED = "The build was interrupted: the server ended meanwhile."
LONGEST_S = 4 * 3600
CPU_COUNTS = (1, *range(2, 33, 2))
LEAST_MEMORY_MB = 128


class Builds:
    """Builds templates, a few at a time."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        catalogue: Catalogue,
        pool: Pool,
        tools: Tools,
        host_disk: HostDisk,
    ) -> None:
        self._settings = settings
        self._host_disk = host_disk
        self._store = store
        self._catalogue = catalogue
        self._pool = pool
        self._tools = tools
        self._builds: dict[str, Build] = {}
        self._logs: dict[str, Log] = {}
        self._running: dict[str, asyncio.Task[object]] = {}
        self._tasks = Tasks()
        self._slots = asyncio.Semaphore(settings.max_builds)

    @property
    def archives(self) -> Archives:
        """The uploaded files."""
        return self._tools.archives

    async def load(self) -> None:
        """Read the store; builds that an earlier server was at are over."""
        await self._layers.load()
        await asyncio.to_thread(self.archives.clear, drafts=True)
        for build in await self._store.load_builds():
            self._builds[build.id] = build
            if not build.status.is_over:
                await self._finish(build, Reason(INTERRUPTED))

    async def close(self) -> None:
        """End all builds; what they have started is removed."""
        await self._tasks.cancel()

    async def request(
        self, name: str, tags: Sequence[str], team: str, *, cpu_count: int | None = None, memory_mb: int | None = None
    ) -> Build:
        """Register a build that waits for its steps. The team's template of this name, if there is one, gets it.

        Raises InvalidRequest (size), Forbidden (the name is not the team's to use), CapacityExceeded, DiskFull.
        """
        self._host_disk.check()
        cpu_count, memory_mb = cpu_count or self._settings.cpu_count, memory_mb or self._settings.memory_mb
        check_size(cpu_count, memory_mb)
        template_id = self._find_template_id(name, team)
        waiting = [one for one in self._builds.values() if not one.status.is_over and one.template_id != template_id]
        if len(waiting) >= self._settings.max_waiting_builds:
            raise CapacityExceeded(
                f"you have reached the maximum number of concurrent template builds "
                f"({self._settings.max_waiting_builds}). Please wait for existing builds to complete or raise "
                "SANDLOT_MAX_WAITING_BUILDS"
            )
        build = Build(
            id=str(uuid.uuid4()),
            template_id=template_id,
            name=name,
            tags=tuple(tags) or (DEFAULT_TAG,),
            cpu_count=cpu_count,
            memory_mb=memory_mb,
            status=BuildStatus.WAITING,
            created_at=now(),
            updated_at=now(),
            team=team,
        )
        await self._supersede(build)
        await self._save(build)
        return build

    def _find_template_id(self, name: str, team: str) -> str:
        known = self._catalogue.find_id(name, team)
        if is_built_in(known) or is_built_in(name):
            raise Forbidden(f"Alias '{name}' already used: it is the name of a built-in template")
        if known is not None and not self._catalogue.is_of(known, team):
            raise Forbidden(f"Alias '{name}' already used: it is the id of another team's template")
        # Not built yet, but asked for before: the same template.
        asked = (one for one in reversed(self._builds.values()) if one.name == name and one.team == team)
        earlier = next((one.template_id for one in asked), None)
        return known or earlier or new_template_id()

    async def _supersede(self, newer: Build) -> None:
        for build in list(self._builds.values()):
            same = build.template_id == newer.template_id and set(build.tags) & set(newer.tags)
            if same and not build.status.is_over:
                await self._cancel(build, SUPERSEDED)

    async def _cancel(self, build: Build, message: str) -> None:
        running = self._running.get(build.id)
        if running is not None:
            running.cancel()
            await asyncio.wait({running})
        await self._finish(self._builds[build.id], Reason(message))

    async def start(self, template_id: str, build_id: str, team: str, plan: Plan) -> None:
        """Begin a build that waits; raises NotFound, InvalidRequest when it does not wait."""
        build = self._builds.get(build_id)
        if build is None or build.template_id != template_id or build.team != team:
            raise NotFound(f"Error when getting template: build '{build_id}' of '{template_id}' not found")
        if build.status is not BuildStatus.WAITING or build.id in self._running:
            raise InvalidRequest("build is not in waiting state")
        self._logs[build.id] = Log(build.id, self._store, self._tasks)
        work = self._tasks.spawn(self._run(build, plan), f"build {build.id}")
        self._running[build.id] = work
        work.add_done_callback(lambda _: self._running.pop(build.id, None))
        await self._save(replace(build, status=BuildStatus.BUILDING, updated_at=now()))

    async def _run(self, build: Build, plan: Plan) -> None:
        build_log, began = self._logs[build.id], now()
        try:
            async with self._slots, asyncio.timeout(LONGEST_S):
                template = await Job(self._tools, build, plan, build_log).run()
        except BuildFailed as error:
            build_log.add(f"Build failed: {error}", error.step, "error")
            await self._finish(self._builds[build.id], Reason(str(error), error.step))
        except TimeoutError:
            await self._finish(self._builds[build.id], Reason(f"The build took longer than {LONGEST_S // 3600} hours."))
        except Exception as error:  # whatever it is, whoever waits for the build must hear that it is over
            log.exception("build %s failed", build.id)
            await self._finish(self._builds[build.id], Reason(f"internal error: {error}"))
        else:
            build_log.add(f"Build finished, took {(now() - began).total_seconds():.1f}s")
            await self._finish(self._builds[build.id])
            self._pool.retire()
            self._pool.expect(template)

    async def _finish(self, build: Build, reason: Reason | None = None) -> None:
        if build.status.is_over:
            return
        if build.id in self._logs:
            await self._logs[build.id].save()
        status = BuildStatus.ERROR if reason else BuildStatus.READY
        await self._save(replace(build, status=status, updated_at=now(), finished_at=now(), reason=reason))
        # From here on the store has it all.
        self._logs.pop(build.id, None)

    async def _save(self, build: Build) -> None:
        self._builds[build.id] = build
        await self._store.save_build(build)

    def get(self, template_id: str, build_id: str, team: str) -> Build:
        """Return a team's build; raises InvalidRequest, as E2B does, when the template has none of this id."""
        build = self._builds.get(build_id)
        if build is None or build.template_id != template_id or build.team != team:
            raise InvalidRequest(f"Build '{build_id}' not found")
        return build

    def list_of(self, template_id: str) -> list[Build]:
        """Return the builds of a template, newest first."""
        return [one for one in reversed(self._builds.values()) if one.template_id == template_id]

    def has_template(self, template_id: str) -> bool:
        """Whether a template of this id exists or is asked for."""
        return self._catalogue.is_template(template_id) or bool(self.list_of(template_id))

    def is_of(self, template_id: str, team: str) -> bool:
        """Whether a template, built or only asked for, is a team's own."""
        return self._catalogue.is_of(template_id, team) or any(one.team == team for one in self.list_of(template_id))

    def find_team(self, template_id: str) -> str | None:
        """Return whose template this is, built or only asked for; None when there is none."""
        built = (one.team for one in self._catalogue.list_of(template_id))
        return next(built, next((one.team for one in self.list_of(template_id)), None))

    async def read_log(self, build_id: str) -> list[BuildLog]:
        """Return what a build has said so far."""
        running = self._logs.get(build_id)
        return running.lines if running is not None else await self._store.load_build_logs(build_id)

    async def delete_of(self, template_id: str) -> None:
        """Forget the builds of a template that is deleted; those under way end."""
        for build in self.list_of(template_id):
            if not build.status.is_over:
                await self._cancel(build, DELETED)
            del self._builds[build.id]
        await self._store.delete_builds(template_id)

    async def forget(self) -> None:
        """Forget layers and uploads that nobody has used for long."""
        await self._layers.forget(self._catalogue.is_template)
        await asyncio.to_thread(self.archives.clear)

    @property
    def _layers(self) -> LayerCache:
        return self._tools.layers


def check_size(cpu_count: int, memory_mb: int) -> None:
    """Raise InvalidRequest unless a template may have this size."""
    if cpu_count not in CPU_COUNTS:
        raise InvalidRequest("CPU count must be 1, or an even number up to 32")
    if memory_mb < LEAST_MEMORY_MB or memory_mb % 2:
        raise InvalidRequest(f"Memory must be an even number of MiB, at least {LEAST_MEMORY_MB}")
