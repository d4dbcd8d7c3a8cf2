"""Routes of the templates that there are: list, look up, publish, tag, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from sandlot_protocol.http import ENVD_VERSION
from sandlot_server.api import build_schemas
from sandlot_server.api.requests import read_body, read_team, require_key
from sandlot_server.api.schemas import parse_limit, shape_time
from sandlot_server.api.wire import Wire
from sandlot_server.build_models import BuildStatus
from sandlot_server.errors import Forbidden, InvalidRequest, NotFound
from sandlot_server.listing import Cursor, decode_token, encode_token
from sandlot_server.models import DEFAULT_TAG, Template
from sandlot_server.names import parse_own_name, parse_reference, parse_tag, show_name
from sandlot_server.template_service import TemplateService
from sandlot_server.templates import BASE_ID, Catalogue, is_built_in

router = APIRouter(dependencies=[Depends(require_key)])


class AssignBody(Wire):
    """POST /templates/tags."""

    target: Annotated[str, Field(min_length=1)]
    tags: list[str]


class RemoveBody(Wire):
    """DELETE /templates/tags."""

    name: Annotated[str, Field(min_length=1)]
    tags: list[str]


class UpdateBody(Wire):
    """PATCH of a template."""

    public: bool | None = None


def _catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


def _service(request: Request) -> TemplateService:
    service: TemplateService = request.app.state.templates
    return service


@router.get("/templates")
async def list_all(request: Request) -> Response:
    """List templates, newest first."""
    return JSONResponse([_shape(request, one) for one in _list(request)])


@router.get("/v2/templates")
async def list_page(request: Request) -> Response:
    """List templates in pages, newest first."""
    limit = parse_limit(request.query_params.get("limit"))
    page, token = _cut_page(_list(request), limit, request.query_params.get("nextToken"))
    return JSONResponse([_shape(request, one) for one in page], headers={"X-Next-Token": token} if token else {})


def _list(request: Request) -> list[Template]:
    """Every template of the team once, and what is built in; snapshots have a list of their own."""
    catalogue, team = _catalogue(request), read_team(request)
    newest = {one.id: one for one in sorted(catalogue.list_tags(), key=lambda one: one.created_at)}
    found = [one for one in newest.values() if one.source_sandbox is None and catalogue.is_of(one.id, team)]
    return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)


def _cut_page(found: list[Template], limit: int, token: str | None) -> tuple[list[Template], str | None]:
    if token is not None:
        cursor = decode_token(token, ascending=False)
        found = [one for one in found if (one.created_at, one.id) < (cursor.moment, cursor.key)]
    page = found[:limit]
    more = len(found) > limit
    return page, encode_token(Cursor(page[-1].created_at, page[-1].id), ascending=False) if more else None


def _shape(request: Request, template: Template) -> dict[str, Any]:
    builds = request.app.state.builds.list_of(template.id)
    moments = [one.created_at for one in _catalogue(request).list_of(template.id)] + [one.created_at for one in builds]
    uses = _catalogue(request).find_uses(template.id)
    return {
        "templateID": template.id,
        "buildID": template.build_id,
        "cpuCount": template.cpu_count,
        "memoryMB": template.memory_mb,
        "diskSizeMB": 0,
        "public": template.public,
        "aliases": [name.removeprefix(f"{template.team}/") for name in template.names if _is_bare(name, template.team)],
        "names": [show_name(name) for name in template.names],
        "createdAt": shape_time(min(moments)),
        "updatedAt": shape_time(max(moments)),
        "createdBy": None,
        "lastSpawnedAt": _shape_optional(uses.last),
        "spawnCount": uses.count,
        "buildCount": max(1, sum(one.status is BuildStatus.READY for one in builds)),
        "envdVersion": ENVD_VERSION,
        "buildStatus": str(BuildStatus.READY),
        "isDefault": template.id == BASE_ID,
    }


def _is_bare(name: str, team: str) -> bool:
    """Whether the team may leave the namespace out."""
    return "/" not in name or name.startswith(f"{team}/")


def _shape_optional(moment: datetime | None) -> str | None:
    return None if moment is None else shape_time(moment)


@router.get("/templates/aliases/{alias}")
async def find_alias(request: Request) -> Response:
    """Whether a name, and a tag where one is given, exists."""
    text = unquote(request.path_params["alias"])
    name, tag = parse_reference(text)
    catalogue = _catalogue(request)
    template_id = catalogue.find_id(name, read_team(request))
    if template_id is None:
        raise NotFound(f"template '{name}' not found")
    if not catalogue.is_open_to(template_id, read_team(request)):
        raise Forbidden("You don't have access to this template alias")
    known = catalogue.list_of(template_id)
    if ":" in text and all(one.tag != (tag or DEFAULT_TAG) for one in known):
        raise NotFound(f"tag '{tag or DEFAULT_TAG}' does not exist for template '{name}'")
    return JSONResponse({"templateID": template_id, "public": known[0].public})


@router.post("/templates/tags")
async def assign_tags(request: Request) -> Response:
    """Give what a template is under one tag other tags as well."""
    body = await read_body(request, AssignBody)
    if not body.tags:
        raise InvalidRequest("At least one tag is required")
    tags = list(dict.fromkeys(parse_tag(tag) for tag in body.tags))
    build_id = await _service(request).assign(body.target, tags, read_team(request))
    return JSONResponse({"tags": tags, "buildID": build_id}, 201)


@router.delete("/templates/tags")
async def remove_tags(request: Request) -> Response:
    """Take tags from a template."""
    body = await read_body(request, RemoveBody)
    tags = [parse_tag(tag) for tag in body.tags]
    if not tags:
        raise InvalidRequest("At least one tag is required")
    if DEFAULT_TAG in tags:
        raise InvalidRequest(f"Cannot delete the '{DEFAULT_TAG}' tag")
    if ":" in body.name:
        raise InvalidRequest("Template name should not contain a tag, use the 'tags' field instead")
    await _service(request).remove(_require_own(request, body.name), tags)
    return Response(status_code=204)


@router.get("/templates/{reference}/tags")
async def list_tags(request: Request) -> Response:
    """The tags of a template, newest first."""
    template_id = _require(request, unquote(request.path_params["reference"]))
    found = sorted(_catalogue(request).list_of(template_id), key=lambda one: one.created_at, reverse=True)
    shaped = [{"tag": one.tag, "buildID": one.build_id, "createdAt": shape_time(one.created_at)} for one in found]
    return JSONResponse(shaped)


@router.get("/templates/{reference}")
async def show(request: Request) -> Response:
    """One template with its builds, newest first, in pages."""
    template_id = _require(request, unquote(request.path_params["reference"]))
    newest = max(_catalogue(request).list_of(template_id), key=lambda one: one.created_at)
    builds = request.app.state.builds.list_of(template_id)
    token = request.query_params.get("nextToken")
    if token is not None:
        cursor = decode_token(token, ascending=False)
        builds = [one for one in builds if (one.created_at, one.id) < (cursor.moment, cursor.key)]
    limit = parse_limit(request.query_params.get("limit"))
    page = builds[:limit]
    headers = {}
    if len(builds) > limit:
        headers["X-Next-Token"] = encode_token(Cursor(page[-1].created_at, page[-1].id), ascending=False)
    shaped = [build_schemas.shape_build(one, ENVD_VERSION) for one in page]
    return JSONResponse({**_shape(request, newest), "builds": shaped}, headers=headers)


@router.delete("/templates/{reference}")
async def delete(request: Request) -> Response:
    """Remove a template, or a snapshot."""
    reference = unquote(request.path_params["reference"])
    if not reference:
        raise InvalidRequest("Invalid template ID")
    await _service(request).delete(reference, read_team(request))
    return Response(status_code=204)


@router.patch("/v2/templates/{reference}")
async def update_v2(request: Request) -> Response:
    """Publish a template, or take that back."""
    template_id = await _update(request)
    names = next(iter(_catalogue(request).list_of(template_id))).names
    return JSONResponse({"names": [show_name(name) for name in names]})


@router.patch("/templates/{reference}")
async def update_v1(request: Request) -> Response:
    """The same as earlier clients know it."""
    await _update(request)
    return JSONResponse({})


async def _update(request: Request) -> str:
    body = await read_body(request, UpdateBody)
    template_id = _require_own(request, unquote(request.path_params["reference"]))
    if body.public is not None:
        await _service(request).publish(template_id, public=body.public)
    return template_id


def _require(request: Request, reference: str) -> str:
    name, _ = parse_reference(reference)
    template_id = _catalogue(request).find_id(name, read_team(request))
    if template_id is None:
        raise NotFound(f"template '{name}' not found")
    if not _catalogue(request).is_of(template_id, read_team(request)):
        raise Forbidden(f"You don't have access to sandbox template '{name}'")
    return template_id


def _require_own(request: Request, reference: str) -> str:
    """The id of a template that the team may change; raises Forbidden for another team's and a built-in one."""
    template_id = _require(request, reference)
    if is_built_in(template_id):
        raise Forbidden(f"You don't have access to sandbox template '{reference}'")
    parse_own_name(reference, read_team(request))
    return template_id
