"""One installation, put together: the only place that knows which store and which runtime there are."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from sandlot_server.activity import ActivityRecorder
from sandlot_server.api.app import create_app
from sandlot_server.builds.archives import Archives
from sandlot_server.builds.job import Tools
from sandlot_server.builds.layers import LayerCache
from sandlot_server.builds.service import Builds
from sandlot_server.containers import Containers
from sandlot_server.directory import SandboxDirectory
from sandlot_server.disk_limits import DiskLimits
from sandlot_server.freezing import Freezer
from sandlot_server.history import History
from sandlot_server.host_disk import HostDisk
from sandlot_server.identity import Identity, load_identity
from sandlot_server.images import Images
from sandlot_server.journal import Journal
from sandlot_server.metrics import Metrics
from sandlot_server.moving import Mover
from sandlot_server.pool import Pool
from sandlot_server.proxy.limits import Stats
from sandlot_server.reconcile import Reconciler
from sandlot_server.registry import Registry
from sandlot_server.removal import Remover
from sandlot_server.runtime.base import Runtime
from sandlot_server.sandboxes import SandboxService
from sandlot_server.settings import Settings
from sandlot_server.shipped import Shipped
from sandlot_server.snapshots import Snapshots
from sandlot_server.store.base import Store
from sandlot_server.store.sqlite import SqliteStore
from sandlot_server.tasks import Tasks
from sandlot_server.teams import Teams
from sandlot_server.template_service import TemplateService
from sandlot_server.templates import Catalogue

log = logging.getLogger(__name__)

FINISH_S = 20
"""How long the end of the server waits for removals that are under way; the next start finishes the rest."""


class Installation:
    """Services over one store and one runtime. `run` brings them to life."""

    def __init__(self, settings: Settings, *, identity: Identity, store: Store, runtime: Runtime) -> None:
        self.settings = settings
        self.identity = identity
        self.store = store
        self.runtime = runtime
        self.tasks = Tasks()
        self.registry = Registry(identity)
        self.teams = Teams(store, identity)
        self.catalogue = Catalogue(store)
        self.shipped = Shipped(settings, runtime=runtime, catalogue=self.catalogue)
        self.containers = Containers(runtime, identity, settings)
        self.journal = Journal(store, self.tasks)
        self.history = History(store=store, runtime=runtime, registry=self.registry, journal=self.journal)
        self.host_disk = HostDisk(settings, runtime=runtime, registry=self.registry, journal=self.journal)
        self.remover = Remover(
            runtime=runtime,
            store=store,
            registry=self.registry,
            journal=self.journal,
            history=self.history,
            tasks=self.tasks,
        )
        self.pool = Pool(
            settings,
            containers=self.containers,
            catalogue=self.catalogue,
            remove=self.remover.remove_container,
        )
        self.containers.on_start(self.registry.displace)
        self.containers.on_start(self.pool.displace)
        self.layers = LayerCache(store=store, runtime=runtime)
        self.images = Images(runtime=runtime, catalogue=self.catalogue, registry=self.registry, layers=self.layers)
        self.freezer = Freezer(
            runtime=runtime,
            store=store,
            registry=self.registry,
            containers=self.containers,
            journal=self.journal,
            mover=Mover(
                runtime=runtime,
                store=store,
                containers=self.containers,
                images=self.images,
                remover=self.remover,
            ),
        )
        self.service = SandboxService(
            settings,
            store=store,
            resolve=self.shipped.resolve,
            catalogue=self.catalogue,
            registry=self.registry,
            containers=self.containers,
            pool=self.pool,
            freezer=self.freezer,
            remover=self.remover,
            journal=self.journal,
            tasks=self.tasks,
            host_disk=self.host_disk,
        )
        self.disk_limits = DiskLimits(
            settings,
            runtime=runtime,
            registry=self.registry,
            service=self.service,
            host=self.host_disk,
            journal=self.journal,
        )
        self.metrics = Metrics(
            store=store,
            runtime=runtime,
            registry=self.registry,
            containers=self.containers,
            find_disk=self.disk_limits.find_usage,
        )
        self.activity = ActivityRecorder(
            store=store, registry=self.registry, count_started=lambda: self.service.creator.made
        )
        self.builds = Builds(
            settings,
            store=store,
            catalogue=self.catalogue,
            pool=self.pool,
            host_disk=self.host_disk,
            tools=Tools(
                settings=settings,
                runtime=runtime,
                containers=self.containers,
                remover=self.remover,
                resolve=self.shipped.resolve,
                catalogue=self.catalogue,
                layers=self.layers,
                images=self.images,
                archives=Archives(settings.home / "archives"),
            ),
        )
        self.snapshots = Snapshots(
            settings,
            runtime=runtime,
            catalogue=self.catalogue,
            registry=self.registry,
            freezer=self.freezer,
            creator=self.service.creator,
            pool=self.pool,
            journal=self.journal,
            images=self.images,
            host_disk=self.host_disk,
        )
        self.templates = TemplateService(
            catalogue=self.catalogue, registry=self.registry, builds=self.builds, images=self.images, pool=self.pool
        )
        self.directory = SandboxDirectory(self.registry, self.service, identity)
        self.door_stats = Stats()
        self.reconciler = Reconciler(
            runtime=runtime,
            store=store,
            registry=self.registry,
            containers=self.containers,
            catalogue=self.catalogue,
            pool=self.pool,
            remover=self.remover,
            freezer=self.freezer,
            service=self.service,
            images=self.images,
            builds=self.builds,
            teams=self.teams,
            shipped=self.shipped,
        )

    def create_app(self) -> FastAPI:
        """The API over these services."""
        return create_app(self)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Take over what an earlier server left, then keep time, watch the engine and fill the pool.

        At the end sandboxes go on running: the next server takes them over.
        """
        await self.store.open()
        try:
            await self.runtime.open()
            await self.teams.load()
            await self.catalogue.load(self.settings)
            await self.shipped.adopt_all()
            await self.builds.load()
            watchers = Tasks()
            watchers.supervise(self.reconciler.watch, "watching the engine")
            await self.reconciler.recover()
            watchers.supervise(self.service.expiry.run, "timeouts")
            watchers.supervise(self.reconciler.run, "comparing store and engine")
            watchers.supervise(self.pool.run, "filling the pool")
            watchers.supervise(self.metrics.run, "sampling")
            watchers.supervise(self.host_disk.run, "watching the disk")
            watchers.supervise(self.disk_limits.run, "watching what sandboxes write")
            watchers.supervise(self.activity.run, "noting how busy the server is")
            try:
                yield
            finally:
                await self.builds.close()
                await self.catalogue.save_uses()
                await self.teams.save_uses()
                await watchers.cancel()
                await self.tasks.finish(FINISH_S)
        finally:
            await self.runtime.close()
            await self.store.close()


def open_installation(
    settings: Settings, *, runtime: Runtime | None = None, store: Store | None = None
) -> Installation:
    """Return the installation in `settings.home`, made on first use; tests hand in a runtime and a store."""
    identity = load_identity(settings.home)
    return Installation(
        settings,
        identity=identity,
        store=store or SqliteStore(settings.database),
        runtime=runtime or make_runtime(settings, identity.installation),
    )


def make_runtime(settings: Settings, installation: str) -> Runtime:
    """The runtime that the settings name."""
    if settings.runtime == "memory":
        from sandlot_server.runtime.memory import MemoryRuntime

        return MemoryRuntime()
    # Imported here, since it takes a third of a second and a memory runtime has no use for it.
    from sandlot_server.runtime.docker_engine import DockerEngine

    return DockerEngine(settings, installation)
