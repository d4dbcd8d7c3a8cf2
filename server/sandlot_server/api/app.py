"""The API as one ASGI application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from sandlot_server.api import health, sandboxes, unbuilt
from sandlot_server.api.errors import add_error_handlers
from sandlot_server.api.requests import RawPath
from sandlot_server.identity import Identity
from sandlot_server.sandboxes import SandboxService
from sandlot_server.settings import Settings
from sandlot_server.templates import Catalogue

EXPOSED_HEADERS = ["X-Next-Token", "X-Total-Running", "Should-Retry", "Retry-After"]


def create_app(*, settings: Settings, identity: Identity, service: SandboxService, catalogue: Catalogue) -> FastAPI:
    """Return the API over these services."""
    app = FastAPI(title="Sandlot", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.settings = settings
    app.state.identity = identity
    app.state.service = service
    app.state.catalogue = catalogue
    for module in (health, sandboxes, unbuilt):
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
