"""Routes of sandboxes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import QueryParams

from sandlot_server.api import schemas
from sandlot_server.api.network import NetworkUpdateBody, make_egress
from sandlot_server.api.requests import read_body, read_sandbox_id, read_team, require_key
from sandlot_server.errors import InvalidRequest
from sandlot_server.listing import ALL_STATES, Query, decode_token, list_page, parse_metadata
from sandlot_server.models import Egress, Idempotency, NewSandbox, Sandbox
from sandlot_server.names import parse_reference
from sandlot_server.sandboxes import SandboxService
from sandlot_server.settings import Settings
from sandlot_server.templates import Catalogue

router = APIRouter(dependencies=[Depends(require_key)])

MIN_REFRESH_S = 15
IDEMPOTENCY_KEY = re.compile(r"[a-z0-9-]{1,255}")


def _service(request: Request) -> SandboxService:
    service: SandboxService = request.app.state.service
    return service


def _find_disk_mb(request: Request) -> int:
    settings: Settings = request.app.state.settings
    return settings.enforced_disk_mb


@router.post("/v2/sandboxes")
async def create_v2(request: Request) -> Response:
    """Create a sandbox; its agent always wants the access token."""
    body = await read_body(request, schemas.CreateBody)
    if body.secure is False:
        raise InvalidRequest("Error when parsing request: 'secure=false' is not supported by this route")
    wanted = body.to_new_sandbox(
        request.app.state.settings,
        default_timeout_s=schemas.V2_TIMEOUT_S,
        secure=True,
        idempotency=_read_idempotency(request, body),
    )
    return await _create(request, wanted)


def _read_idempotency(request: Request, body: schemas.CreateBody) -> Idempotency | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest("Idempotency-Key must be 1 to 255 characters of a-z, 0-9 and -")
    return Idempotency(key, hashlib.sha256(body.model_dump_json().encode()).hexdigest())


@router.post("/sandboxes")
async def create_v1(request: Request) -> Response:
    """Create a sandbox as older clients do; its agent wants the access token when they say so."""
    body = await read_body(request, schemas.CreateBody)
    wanted = body.to_new_sandbox(
        request.app.state.settings, default_timeout_s=schemas.V1_TIMEOUT_S, secure=bool(body.secure)
    )
    return await _create(request, wanted)


async def _create(request: Request, wanted: NewSandbox) -> Response:
    return _answer(request, await _service(request).create(replace(wanted, team=read_team(request))), 201)


def _answer(request: Request, sandbox: Sandbox, status: int) -> Response:
    return JSONResponse(schemas.shape_sandbox(sandbox, request.app.state.identity), status)


@router.get("/v2/sandboxes")
async def list_v2(request: Request) -> Response:
    """List sandboxes, running and paused, in pages."""
    query = _parse_query(request)
    page = list_page(_service(request).list(read_team(request)) if query is not None else [], query or Query())
    headers = {"X-Next-Token": page.next_token} if page.next_token else {}
    if query is None or "running" in query.states:
        headers["X-Total-Running"] = str(page.running)
    return JSONResponse(
        [schemas.shape_listed(sandbox, _find_disk_mb(request)) for sandbox in page.sandboxes], headers=headers
    )


@router.get("/sandboxes")
async def list_v1(request: Request) -> Response:
    """List the running sandboxes, newest first."""
    metadata = parse_metadata(request.query_params.get("metadata", "")) if "metadata" in request.query_params else {}
    sandboxes = _service(request).list(read_team(request))
    query = Query(states=frozenset({"running"}), metadata=metadata, limit=max(len(sandboxes), 1))
    page = list_page(sandboxes, query)
    return JSONResponse([schemas.shape_listed(sandbox, _find_disk_mb(request)) for sandbox in page.sandboxes])


def _parse_query(request: Request) -> Query | None:
    """What to list; None when the template that it is filtered by does not exist."""
    given = request.query_params
    order = given.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidRequest(f'Invalid order parameter: unknown order "{order}"')
    template_id = None
    if "template" in given:
        template_id = _find_template(request, given["template"])
        if template_id is None:
            return None
    return Query(
        states=_parse_states(given),
        metadata=parse_metadata(given["metadata"]) if "metadata" in given else {},
        template_id=template_id,
        started_after=_parse_time(given["startedAfter"]) if "startedAfter" in given else None,
        ascending=order == "asc",
        limit=schemas.parse_limit(given.get("limit")),
        cursor=decode_token(given["nextToken"], order == "asc") if given.get("nextToken") else None,
    )


def _find_template(request: Request, reference: str) -> str | None:
    if ":" in reference:
        raise InvalidRequest("Invalid template: tags are not supported here because sandboxes are not tag-scoped")
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue.find_id(parse_reference(reference)[0], read_team(request))


def _parse_states(given: QueryParams) -> frozenset[str]:
    """`state` holds one state or several joined by commas, and may be repeated."""
    if "state" not in given:
        return ALL_STATES
    states = frozenset(",".join(given.getlist("state")).split(","))
    if unknown := states - ALL_STATES:
        raise InvalidRequest(f"Invalid state parameter: {', '.join(sorted(unknown))}")
    return states


def _parse_time(text: str) -> datetime:
    try:
        # A `+` that was not encoded arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise InvalidRequest("Invalid startedAfter parameter: it must be a date and time of RFC 3339") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@router.get("/sandboxes/{sandbox_id}")
async def get(request: Request) -> Response:
    """Show a sandbox."""
    sandbox = _service(request).get(read_sandbox_id(request))
    return JSONResponse(schemas.shape_detail(sandbox, request.app.state.identity, _find_disk_mb(request)))


@router.delete("/sandboxes/{sandbox_id}")
async def kill(request: Request) -> Response:
    """End a sandbox, paused or running."""
    await _service(request).kill(read_sandbox_id(request))
    return Response(status_code=204)


@router.post("/v2/sandboxes/{sandbox_id}/connect")
async def connect_v2(request: Request) -> Response:
    """Extend a running sandbox, or resume a paused one."""
    return await _connect(request, await read_body(request, schemas.ConnectBody, optional=True))


@router.post("/sandboxes/{sandbox_id}/connect")
async def connect_v1(request: Request) -> Response:
    """The same for older clients, who always name a timeout."""
    return await _connect(request, await read_body(request, schemas.ConnectBodyV1))


async def _connect(request: Request, body: schemas.ConnectBody) -> Response:
    sandbox, resumed = await _service(request).connect(
        read_sandbox_id(request), body.timeout, memory=body.memory is not False
    )
    return _answer(request, sandbox, 201 if resumed else 200)


@router.post("/sandboxes/{sandbox_id}/resume")
async def resume(request: Request) -> Response:
    """Resume a paused sandbox."""
    body = await read_body(request, schemas.ResumeBody, optional=True)
    sandbox = await _service(request).resume(
        read_sandbox_id(request), body.timeout, memory=body.memory is not False, auto_pause=body.autoPause
    )
    return _answer(request, sandbox, 201)


@router.post("/sandboxes/{sandbox_id}/pause")
async def pause(request: Request) -> Response:
    """Pause a running sandbox."""
    body = await read_body(request, schemas.PauseBody, optional=True)
    await _service(request).pause(
        read_sandbox_id(request), memory=body.memory is not False, require_healthy=body.requireHealthyGuest is True
    )
    return Response(status_code=204)


@router.post("/sandboxes/{sandbox_id}/timeout")
async def set_timeout(request: Request) -> Response:
    """Set when a running sandbox ends."""
    body = await read_body(request, schemas.TimeoutBody)
    await _service(request).set_timeout(read_sandbox_id(request), body.timeout)
    return Response(status_code=204)


@router.put("/sandboxes/{sandbox_id}/network")
async def set_network(request: Request) -> Response:
    """Replace what a running sandbox may reach; what the body leaves out is cleared."""
    body = await read_body(request, NetworkUpdateBody)
    egress = make_egress(body, body.allow_internet_access, request.app.state.settings)
    await _service(request).set_egress(read_sandbox_id(request), egress or Egress())
    return Response(status_code=204)


@router.post("/sandboxes/{sandbox_id}/refreshes")
async def refresh(request: Request) -> Response:
    """Let a running sandbox live longer, as the first clients did."""
    body = await read_body(request, schemas.RefreshBody, optional=True)
    await _service(request).extend(read_sandbox_id(request), max(body.duration or 0, MIN_REFRESH_S))
    return Response(status_code=204)
