"""Routes of teams and their keys, for whoever runs this installation.

E2B's API shows them to people who have logged in. There are no accounts here: the admin token stands for the operator,
who says with `X-Team-ID` which team is meant.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from sandlot_server.api.requests import read_body
from sandlot_server.api.schemas import shape_time
from sandlot_server.api.wire import Wire
from sandlot_server.errors import InvalidRequest, NotFound, Unauthorized
from sandlot_server.identity import KEY_BYTES, KEY_PREFIX, Identity
from sandlot_server.models import DEFAULT_TEAM, ApiKey, Team
from sandlot_server.teams import Teams

NO_ACCOUNTS = (
    "this route takes an account, and there are none here: send the admin token of this installation as X-Admin-Token, "
    "or use `sandlot teams` and `sandlot keys` on its machine"
)


async def require_admin(request: Request) -> None:
    """Let only requests pass that carry the admin token; raises Unauthorized."""
    identity: Identity = request.app.state.identity
    if not identity.accepts_admin(request.headers.get("x-admin-token", "")):
        raise Unauthorized(NO_ACCOUNTS)


router = APIRouter(dependencies=[Depends(require_admin)])


class NameBody(Wire):
    """What a new team or key is called, or one that is renamed."""

    name: str


def _teams(request: Request) -> Teams:
    teams: Teams = request.app.state.teams
    return teams


@router.get("/teams")
async def list_teams(request: Request) -> Response:
    """List teams. Keys are kept hashed, so only the default team's developer key can be shown."""
    return JSONResponse([_shape_team(request, team) for team in _teams(request).list_teams()])


@router.post("/_sandlot/teams")
async def add_team(request: Request) -> Response:
    """Make a team."""
    body = await read_body(request, NameBody)
    return JSONResponse(_shape_team(request, await _teams(request).add_team(body.name)), 201)


def _shape_team(request: Request, team: Team) -> dict[str, Any]:
    identity: Identity = request.app.state.identity
    is_default = team.name == DEFAULT_TEAM
    return {
        "teamID": identity.find_team_id(team.name),
        "name": team.name,
        "apiKey": identity.api_key if is_default else "",
        "isDefault": is_default,
    }


@router.get("/api-keys")
async def list_keys(request: Request) -> Response:
    """List the keys of a team."""
    return JSONResponse([_shape_key(key) for key in _teams(request).list_keys(_read_team(request))])


@router.post("/api-keys")
async def add_key(request: Request) -> Response:
    """Make a key; this answer alone has its value."""
    body = await read_body(request, NameBody)
    key, value = await _teams(request).add_key(_read_team(request), body.name)
    return JSONResponse({**_shape_key(key), "key": value}, 201)


@router.patch("/api-keys/{key_id}")
async def rename_key(request: Request, key_id: str) -> Response:
    """Give a key another name."""
    body = await read_body(request, NameBody)
    await _teams(request).rename_key(_read_team(request), key_id, body.name)
    return Response(status_code=202)


@router.delete("/api-keys/{key_id}")
async def revoke_key(request: Request, key_id: str) -> Response:
    """Let a key open nothing from now on."""
    await _teams(request).revoke_key(_read_team(request), key_id)
    return Response(status_code=204)


def _read_team(request: Request) -> str:
    team_id = request.headers.get("x-team-id")
    if team_id is None:
        raise InvalidRequest("the X-Team-ID header is missing")
    team = _teams(request).find_by_id(team_id)
    if team is None:
        raise NotFound(f"team '{team_id}' not found")
    return team.name


def _shape_key(key: ApiKey) -> dict[str, Any]:
    begin, end = key.masked
    return {
        "id": key.id,
        "name": key.name,
        "mask": {
            "prefix": KEY_PREFIX,
            "valueLength": KEY_BYTES * 2,
            "maskedValuePrefix": begin,
            "maskedValueSuffix": end,
        },
        "createdAt": shape_time(key.created_at),
        "createdBy": None,
        "lastUsed": None if key.last_used is None else shape_time(key.last_used),
    }
