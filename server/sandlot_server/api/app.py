"""The API as one ASGI application."""

from __future__ import annotations

from typing import Protocol

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from sandlot_server.activity import ActivityRecorder
from sandlot_server.api import (
    builds,
    health,
    imports,
    observation,
    sandboxes,
    snapshots,
    team_metrics,
    teams,
    templates,
    unbuilt,
)
from sandlot_server.api.errors import add_error_handlers
from sandlot_server.api.requests import RawPath
from sandlot_server.builds.service import Builds
from sandlot_server.history import History
from sandlot_server.identity import Identity
from sandlot_server.journal import Journal
from sandlot_server.metrics import Metrics
from sandlot_server.pool import Pool
from sandlot_server.proxy.limits import Stats
from sandlot_server.registry import Registry
from sandlot_server.runtime.base import Runtime
from sandlot_server.sandboxes import SandboxService
from sandlot_server.settings import Settings
from sandlot_server.snapshots import Snapshots
from sandlot_server.store.base import Store
from sandlot_server.teams import Teams
from sandlot_server.template_service import TemplateService
from sandlot_server.templates import Catalogue

EXPOSED_HEADERS = ["X-Next-Token", "X-Total-Running", "Should-Retry", "Retry-After"]


class Services(Protocol):
    """What the routes act on; they find it as `app.state`."""

    settings: Settings
    identity: Identity
    teams: Teams
    registry: Registry
    store: Store
    service: SandboxService
    catalogue: Catalogue
    journal: Journal
    history: History
    metrics: Metrics
    door_stats: Stats
    snapshots: Snapshots
    builds: Builds
    runtime: Runtime
    templates: TemplateService
    activity: ActivityRecorder
    pool: Pool


def create_app(services: Services) -> FastAPI:
    """Return the API over these services."""
    app = FastAPI(title="Sandlot", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for name in Services.__annotations__:
        setattr(app.state, name, getattr(services, name))
    app.include_router(builds.uploads)
    for module in (health, observation, sandboxes, snapshots, builds, templates, teams, team_metrics, imports, unbuilt):
        app.include_router(module.router)
    add_error_handlers(app)
    app.add_middleware(RawPath)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=EXPOSED_HEADERS,
    )
    return app
