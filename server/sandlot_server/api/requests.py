"""Reading requests: the key, the raw path, the body and its limit."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import unquote

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from sandlot_server.errors import Forbidden, InvalidRequest, SandboxNotFound, TooLarge, Unauthorized
from sandlot_server.models import DEFAULT_TEAM
from sandlot_server.names import parse_sandbox_id
from sandlot_server.registry import Registry
from sandlot_server.settings import Settings
from sandlot_server.store.base import Store
from sandlot_server.teams import Teams

Model = TypeVar("Model", bound=BaseModel)

MIB = 1024 * 1024


class RawPath:
    """Routes on the path as it was sent, so that `%2F` within a segment stays within it; handlers decode."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            scope["path"] = scope["raw_path"].decode("latin-1")
        await self._app(scope, receive, send)


async def require_key(request: Request) -> None:
    """Let only requests pass that carry the key of a team, for which they are; raises Unauthorized."""
    teams: Teams = request.app.state.teams
    key = request.headers.get("x-api-key")
    if key is None:
        raise Unauthorized("Invalid API key: the X-API-KEY header is missing; `sandlot env` prints the key")
    team = teams.authenticate(key)
    if team is None:
        raise Unauthorized
    request.state.team = team


async def require_default_team(request: Request) -> None:
    """Let only the default team pass: what is about the whole installation is its alone. Raises Forbidden."""
    if read_team(request) != DEFAULT_TEAM:
        raise Forbidden(f"this is about the whole installation: only the key of the team '{DEFAULT_TEAM}' opens it")


def read_team(request: Request) -> str:
    """The team whose key the request carries."""
    team: str = request.state.team
    return team


def read_sandbox_id(request: Request) -> str:
    """The sandbox id in the path; raises InvalidRequest, and SandboxNotFound when it is of another team."""
    sandbox_id = parse_sandbox_id(unquote(request.path_params["sandbox_id"]))
    registry: Registry = request.app.state.registry
    entry = registry.get(sandbox_id)
    if entry is not None and entry.sandbox.spec.team != read_team(request):
        raise SandboxNotFound(sandbox_id)
    return sandbox_id


async def read_known_sandbox_id(request: Request) -> str:
    """The same for a sandbox that may be gone and has left something."""
    sandbox_id = read_sandbox_id(request)
    store: Store = request.app.state.store
    if await store.find_owner(sandbox_id) != read_team(request):
        raise SandboxNotFound(sandbox_id)
    return sandbox_id


async def read_body(request: Request, model: type[Model], *, optional: bool = False) -> Model:
    """Parse the body as `model`; an empty one counts as `{}` when it is optional.

    Raises TooLarge, and InvalidRequest naming the field that is wrong or not supported.
    """
    body = await _read_bytes(request)
    try:
        return model.model_validate_json(body or b"{}" if optional else body)
    except ValidationError as error:
        raise InvalidRequest(f"Error when parsing request: {describe(error)}") from error


async def _read_bytes(request: Request) -> bytes:
    settings: Settings = request.app.state.settings
    limit = settings.max_body_mb * MIB
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the request body is larger than {settings.max_body_mb} MiB")
        parts.append(part)
    return b"".join(parts)


def describe(error: ValidationError) -> str:
    """The first thing that is wrong, with the name of the field."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"field '{field}' is not supported"
    message = first["msg"].removeprefix("Value error, ")
    return f"field '{field}': {message}" if field else message
