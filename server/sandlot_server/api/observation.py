"""Routes that show what sandboxes do: metrics, logs and the live stream of events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from sandlot_server.api.requests import (
    read_known_sandbox_id,
    read_sandbox_id,
    read_team,
    require_default_team,
    require_key,
)
from sandlot_server.api.schemas import shape_time
from sandlot_server.errors import InvalidRequest, SandboxNotFound
from sandlot_server.history import LEVELS, MAX_ENTRIES, History, LogQuery
from sandlot_server.journal import NO_SANDBOX, Journal
from sandlot_server.metrics import Metrics
from sandlot_server.models import DEFAULT_TEAM, LogEntry, Sample
from sandlot_server.names import parse_sandbox_id
from sandlot_server.pool import Pool
from sandlot_server.store.base import Store

router = APIRouter(dependencies=[Depends(require_key)])

MAX_BATCH = 100
MAX_UNIX_S = 10413791999
LAST_MOMENT = "2299-12-31 23:59:59"
MS_PER_S = 1000


@router.get("/sandboxes/metrics")
async def show_newest_metrics(request: Request) -> Response:
    """The newest sample of several sandboxes."""
    sandbox_ids = [parse_sandbox_id(text) for text in request.query_params.get("sandbox_ids", "").split(",") if text]
    if not 1 <= len(sandbox_ids) <= MAX_BATCH:
        raise InvalidRequest(f"sandbox_ids must name 1 to {MAX_BATCH} sandboxes")
    metrics: Metrics = request.app.state.metrics
    own = {sandbox.id for sandbox in request.app.state.service.list(read_team(request))}
    found = metrics.find_last(own.intersection(sandbox_ids))
    return JSONResponse({"sandboxes": {sandbox_id: _shape_sample(sample) for sandbox_id, sample in found.items()}})


@router.get("/sandboxes/{sandbox_id}/metrics")
async def show_metrics(request: Request) -> Response:
    """The samples of one sandbox."""
    metrics: Metrics = request.app.state.metrics
    start, end = parse_span(request)
    samples = await metrics.load(await read_known_sandbox_id(request), start, end)
    return JSONResponse([_shape_sample(sample) for sample in samples])


@router.get("/sandboxes/{sandbox_id}/logs")
async def show_logs(request: Request) -> Response:
    """The log of one sandbox, oldest entry first, also as lines of JSON."""
    query = LogQuery(start=_parse_moment(request, "start", MS_PER_S), limit=_parse_limit(request))
    entries = await _history(request).load(await read_known_sandbox_id(request), query)
    lines = [{"timestamp": shape_time(entry.at), "line": _shape_line(entry)} for entry in entries]
    return JSONResponse({"logs": lines, "logEntries": [_shape_entry(entry) for entry in entries]})


@router.get("/v2/sandboxes/{sandbox_id}/logs")
async def show_logs_v2(request: Request) -> Response:
    """The log of one sandbox from a cursor on, forward or backward."""
    direction = request.query_params.get("direction", "backward")
    level = request.query_params.get("level")
    if direction not in ("forward", "backward"):
        raise InvalidRequest("direction must be forward or backward")
    if level is not None and level not in LEVELS:
        raise InvalidRequest(f"level must be one of {', '.join(LEVELS)}")
    cursor = _parse_moment(request, "cursor", MS_PER_S)
    backward = direction == "backward"
    query = LogQuery(
        start=None if backward else cursor,
        end=cursor if backward else None,
        limit=_parse_limit(request),
        newest_first=backward,
        level=level,
        search=request.query_params.get("search"),
    )
    entries = await _history(request).load(await read_known_sandbox_id(request), query)
    return JSONResponse({"logs": [_shape_entry(entry) for entry in entries]})


@router.get("/_sandlot/events")
async def stream_events(request: Request) -> Response:
    """Every lifecycle event of the team's sandboxes from now on, as Server-Sent Events."""
    journal: Journal = request.app.state.journal
    store: Store = request.app.state.store
    team = read_team(request)

    async def events() -> AsyncIterator[ServerSentEvent]:
        async for entry in journal.listen():
            # What happens to the host as a whole is for the default team.
            owner = DEFAULT_TEAM if entry.sandbox_id == NO_SANDBOX else await store.find_owner(entry.sandbox_id)
            if owner != team:
                continue
            yield ServerSentEvent(
                json.dumps({"sandboxID": entry.sandbox_id, **_shape_entry(entry)}), event=entry.event or "log"
            )

    return EventSourceResponse(events())


@router.get("/_sandlot/sandboxes/{sandbox_id}/address")
async def show_address(request: Request) -> Response:
    """Where the agent of a running sandbox listens, for programs on this machine."""
    sandbox_id = read_sandbox_id(request)
    endpoint = request.app.state.registry.find_endpoint(sandbox_id)
    if endpoint is None:
        raise SandboxNotFound(sandbox_id)
    return JSONResponse({"address": endpoint.address, "port": endpoint.agent_port})


@router.get("/_sandlot/door", dependencies=[Depends(require_default_team)])
async def show_door(request: Request) -> Response:
    """What the front door has counted since the server's start."""
    return JSONResponse(asdict(request.app.state.door_stats))


@router.get("/_sandlot/pool", dependencies=[Depends(require_default_team)])
async def show_pool(request: Request) -> Response:
    """How many containers wait for each template, and how often one did and none did since the server's start."""
    pool: Pool = request.app.state.pool
    return JSONResponse([asdict(level) for level in pool.list_levels()])


def _history(request: Request) -> History:
    history: History = request.app.state.history
    return history


def parse_span(request: Request) -> tuple[datetime | None, datetime | None]:
    """`start` and `end` of the query, in unix seconds; raises InvalidRequest."""
    start, end = _parse_moment(request, "start", 1), _parse_moment(request, "end", 1)
    if start is not None and end is not None and start > end:
        raise InvalidRequest("start time cannot be after end time")
    return start, end


def _parse_moment(request: Request, name: str, per_second: int) -> datetime | None:
    """A unix time in the query, in seconds or in parts of them; raises InvalidRequest."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise InvalidRequest(f"{name} must be a unix time")
    if int(text) // per_second > MAX_UNIX_S:
        raise InvalidRequest(f"{name} time cannot be after {LAST_MOMENT}")
    return datetime.fromtimestamp(int(text) / per_second, UTC)


def _parse_limit(request: Request) -> int:
    text = request.query_params.get("limit", str(MAX_ENTRIES))
    if not text.isdecimal():
        raise InvalidRequest("limit must be a number")
    return min(int(text), MAX_ENTRIES)


def _shape_sample(sample: Sample) -> dict[str, Any]:
    return {
        "timestamp": shape_time(sample.at),
        "timestampUnix": int(sample.at.timestamp()),
        "cpuCount": sample.cpu_count,
        "cpuUsedPct": sample.cpu_used_pct,
        "memUsed": sample.mem_used,
        "memTotal": sample.mem_total,
        "memCache": sample.mem_cache,
        "diskUsed": sample.disk_used,
        "diskTotal": sample.disk_total,
    }


def _shape_entry(entry: LogEntry) -> dict[str, Any]:
    fields = dict(entry.fields)
    if entry.event is not None:
        fields["event"] = entry.event
    return {"timestamp": shape_time(entry.at), "message": entry.message, "level": entry.level, "fields": fields}


def _shape_line(entry: LogEntry) -> str:
    """An entry as the official CLI reads it: a JSON object with string values, among them level and logger."""
    logger = "lifecycle" if entry.event is not None else "envd"
    own = {"timestamp": shape_time(entry.at), "level": entry.level, "logger": logger, "message": entry.message}
    return json.dumps({**entry.fields, **own})
