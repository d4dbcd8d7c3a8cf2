"""Routes of snapshots and forks."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from sandlot_server.api import schemas
from sandlot_server.api.requests import read_body, read_sandbox_id, read_team, require_key
from sandlot_server.errors import SandlotError
from sandlot_server.listing import Cursor, decode_token, encode_token
from sandlot_server.models import DEFAULT_TAG, Sandbox, Template
from sandlot_server.names import parse_own_name, parse_reference, parse_sandbox_id, show_name
from sandlot_server.snapshots import Snapshots

router = APIRouter(dependencies=[Depends(require_key)])


def _snapshots(request: Request) -> Snapshots:
    snapshots: Snapshots = request.app.state.snapshots
    return snapshots


@router.post("/sandboxes/{sandbox_id}/snapshots")
async def create_snapshot(request: Request) -> Response:
    """Keep the files of a sandbox as a template."""
    body = await read_body(request, schemas.SnapshotBody, optional=True)
    return JSONResponse(_shape(await _snapshots(request).create(read_sandbox_id(request), body.name)), 201)


@router.post("/sandboxes/{sandbox_id}/fork")
async def fork(request: Request) -> Response:
    """Make sandboxes with the files of a running one; the answer has one entry for each that was asked for."""
    body = await read_body(request, schemas.ForkBody, optional=True)
    request.app.state.service.check_timeout(body.timeout)
    results = await _snapshots(request).fork(read_sandbox_id(request), body.count, body.timeout)
    return JSONResponse([_shape_fork(request, result) for result in results], 201)


def _shape_fork(request: Request, result: Sandbox | SandlotError) -> dict[str, Any]:
    if isinstance(result, SandlotError):
        return {"error": {"code": result.status, "message": str(result)}}
    return {"sandbox": schemas.shape_sandbox(result, request.app.state.identity)}


@router.get("/snapshots")
async def list_snapshots(request: Request) -> Response:
    """List snapshots in pages, newest first."""
    given = request.query_params
    found = _snapshots(request).list_of(read_team(request))
    if "sandboxID" in given:
        source = parse_sandbox_id(given["sandboxID"])
        found = [one for one in found if one.source_sandbox == source]
    if "name" in given:
        found = _filter_by_name(request, found, given["name"])
    limit = schemas.parse_limit(given.get("limit"))
    page, token = _cut_page(found, limit, given.get("nextToken"))
    return JSONResponse([_shape(one) for one in page], headers={"X-Next-Token": token} if token else {})


def _filter_by_name(request: Request, found: list[Template], name: str) -> list[Template]:
    parse_own_name(name, read_team(request))
    reference, tag = parse_reference(name)
    template_id = request.app.state.catalogue.find_id(reference, read_team(request))
    wanted = DEFAULT_TAG if ":" in name and tag is None else tag
    return [one for one in found if one.id == template_id and wanted in (None, one.tag)]


def _cut_page(found: list[Template], limit: int, token: str | None) -> tuple[list[Template], str | None]:
    cursor = decode_token(token, ascending=False) if token else None
    ordered = sorted(found, key=_position, reverse=True)
    if cursor is not None:
        ordered = [one for one in ordered if _position(one) < (cursor.moment, cursor.key)]
    page = ordered[:limit]
    more = len(ordered) > limit
    return page, encode_token(Cursor(*_position(page[-1])), ascending=False) if more else None


def _position(one: Template) -> tuple[Any, str]:
    return one.created_at, f"{one.id}:{one.tag}"


def _shape(snapshot: Template) -> dict[str, Any]:
    names = [show_name(name) for name in snapshot.names]
    return {"snapshotID": f"{names[0] if names else snapshot.id}:{snapshot.tag}", "names": names}
