"""Routes that build templates: ask for a build, upload its files, start it, follow it."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote, unquote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from sandlot_server.api import build_schemas
from sandlot_server.api.requests import read_body, read_team, require_key
from sandlot_server.build_models import Build, BuildLog, BuildStatus
from sandlot_server.builds.service import Builds
from sandlot_server.errors import Forbidden, InvalidRequest, NotFound
from sandlot_server.identity import Identity

router = APIRouter(dependencies=[Depends(require_key)])
uploads = APIRouter()
"""Without a key: SDKs send files with nothing but the link that they were given."""

MAX_PAGE = 100
LINK_S = 4 * 3600


def _builds(request: Request) -> Builds:
    builds: Builds = request.app.state.builds
    return builds


@router.post("/v3/templates")
async def request_build(request: Request) -> Response:
    """Register a build."""
    body = await read_body(request, build_schemas.BuildRequest)
    identity: Identity = request.app.state.identity
    if body.teamID not in (None, identity.find_team_id(read_team(request))):
        raise Forbidden(f"You don't have access to team '{body.teamID}'")
    name, tags = body.parse_name(read_team(request))
    build = await _builds(request).request(
        name, tags, read_team(request), cpu_count=body.cpuCount, memory_mb=body.memoryMB
    )
    known = request.app.state.catalogue.find(build.template_id)
    return JSONResponse(build_schemas.shape_request(build, public=known is not None and known.public), 202)


@router.get("/templates/{template_id}/files/{files_hash}")
async def show_upload_link(request: Request) -> Response:
    """Say whether the files of a step are here, and where to send them."""
    template_id, files_hash = _read_path(request, "template_id"), _read_path(request, "files_hash")
    builds = _builds(request)
    if not builds.is_of(template_id, read_team(request)):
        raise NotFound(f"Error when getting template: template '{template_id}' not found")
    present = builds.archives.find(read_team(request), files_hash) is not None
    return JSONResponse({"present": present, "url": _make_link(request, template_id, files_hash)}, 201)


def _make_link(request: Request, template_id: str, files_hash: str) -> str:
    identity: Identity = request.app.state.identity
    expires = int(time.time()) + LINK_S
    token = identity.upload_token(template_id, files_hash, expires)
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    path = f"/_sandlot/uploads/{quote(template_id)}/{files_hash}?expires={expires}&token={token}"
    return f"{scheme}://{request.headers['host']}{path}"


@uploads.put("/_sandlot/uploads/{template_id}/{files_hash}")
async def upload(request: Request) -> Response:
    """Take the files of a step."""
    template_id, files_hash = _read_path(request, "template_id"), _read_path(request, "files_hash")
    identity: Identity = request.app.state.identity
    expires = request.query_params.get("expires", "")
    token = request.query_params.get("token", "")
    if not identity.accepts_upload(token, template_id, files_hash, expires) or int(expires) < time.time():
        raise Forbidden("the link to upload files to is not valid, or not any more")
    builds = _builds(request)
    team = builds.find_team(template_id)
    if team is None:
        raise NotFound(f"template '{template_id}' not found")
    await builds.archives.receive(team, files_hash, request.stream())
    return Response(status_code=200)


@router.post("/v2/templates/{template_id}/builds/{build_id}")
async def start_build(request: Request) -> Response:
    """Begin a build."""
    body = await read_body(request, build_schemas.BuildStart)
    await _builds(request).start(
        _read_path(request, "template_id"), _read_path(request, "build_id"), read_team(request), body.to_plan()
    )
    return Response(status_code=202)


def _find(request: Request) -> Build:
    template_id, build_id = _read_path(request, "template_id"), _read_path(request, "build_id")
    return _builds(request).get(template_id, build_id, read_team(request))


@router.get("/templates/{template_id}/builds/{build_id}/status")
async def show_status(request: Request) -> Response:
    """How far a build is, with what it has said since the offset."""
    build = _find(request)
    lines: list[BuildLog] = []
    if build.status is not BuildStatus.WAITING:
        # Read after the status: what a build says before it is over must not be missed.
        kept = _filter(await _builds(request).read_log(build.id), request)
        offset = _parse_number(request, "logsOffset", 0)
        lines = kept[offset : offset + min(_parse_number(request, "limit", MAX_PAGE), MAX_PAGE)]
    return JSONResponse(build_schemas.shape_status(build, lines))


@router.get("/templates/{template_id}/builds/{build_id}/logs")
async def show_logs(request: Request) -> Response:
    """What a build has said, from a moment (Unix milliseconds) on, forward or backward."""
    build = _find(request)
    given = request.query_params
    if given.get("source") not in (None, "temporary", "persistent"):
        raise InvalidRequest("source must be 'temporary' or 'persistent'")
    if given.get("direction", "forward") not in ("forward", "backward"):
        raise InvalidRequest("direction must be 'forward' or 'backward'")
    lines = _filter(await _builds(request).read_log(build.id), request)
    backward = given.get("direction") == "backward"
    if "cursor" in given:
        cursor = _parse_number(request, "cursor", 0)
        lines = [line for line in lines if (_ms(line) <= cursor if backward else _ms(line) >= cursor)]
    ordered = lines[::-1] if backward else lines
    page = ordered[: min(_parse_number(request, "limit", MAX_PAGE), MAX_PAGE)]
    return JSONResponse({"logs": [build_schemas.shape_line(line) for line in page]})


def _ms(line: BuildLog) -> int:
    return int(line.at.timestamp() * 1000)


def _filter(lines: list[BuildLog], request: Request) -> list[BuildLog]:
    level = request.query_params.get("level", build_schemas.LEVELS[0])
    if level not in build_schemas.LEVELS:
        raise InvalidRequest(f"level must be one of {', '.join(build_schemas.LEVELS)}")
    wanted = build_schemas.LEVELS[build_schemas.LEVELS.index(level) :]
    return [line for line in lines if line.level in wanted]


def _parse_number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise InvalidRequest(f"{name} must be a number that is not negative")
    return int(text)


def _read_path(request: Request, name: str) -> str:
    value: Any = request.path_params[name]
    return unquote(value)
