"""Routes that show how busy a team is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from sandlot_server.activity import KEPT, ActivityRecorder
from sandlot_server.api.observation import parse_span
from sandlot_server.api.requests import read_team, require_key
from sandlot_server.api.schemas import shape_time
from sandlot_server.errors import Forbidden, InvalidRequest
from sandlot_server.identity import Identity
from sandlot_server.models import now
from sandlot_server.store.base import Peak

router = APIRouter(dependencies=[Depends(require_key)])

PEAKS: dict[str, Peak] = {"concurrent_sandboxes": "concurrent", "sandbox_start_rate": "started"}


@router.get("/teams/{team_id}/metrics")
async def show_activity(request: Request, team_id: str) -> Response:
    """Sandboxes at once and starts per second, in steps that grow with the span."""
    recorder = _recorder(request, team_id)
    points = await recorder.load(read_team(request), *_read_span(request))
    return JSONResponse(
        [
            {**_shape_moment(one.at), "concurrentSandboxes": one.concurrent, "sandboxStartRate": rate}
            for one, rate in points
        ]
    )


@router.get("/teams/{team_id}/metrics/max")
async def show_peak(request: Request, team_id: str) -> Response:
    """The highest value of one of the two in a span, and when that was."""
    recorder = _recorder(request, team_id)
    metric = request.query_params.get("metric", "")
    if metric not in PEAKS:
        raise InvalidRequest(f"invalid metric: {metric}")
    peak = await recorder.find_peak(PEAKS[metric], read_team(request), *_read_span(request))
    at, value = peak or (now(), 0)
    return JSONResponse({**_shape_moment(at), "value": value})


def _recorder(request: Request, team_id: str) -> ActivityRecorder:
    """The recorder, for a team that asks for its own; raises Forbidden."""
    identity: Identity = request.app.state.identity
    own = identity.find_team_id(read_team(request))
    if team_id != own:
        raise Forbidden(f"You ({own}) are not authorized to access this team's ({team_id}) metrics")
    recorder: ActivityRecorder = request.app.state.activity
    return recorder


def _read_span(request: Request) -> tuple[datetime, datetime]:
    """The span that is asked for: the last week where it is open; raises InvalidRequest."""
    start, end = parse_span(request)
    moment = now()
    start, end = start or moment - KEPT, end or moment
    if start > end:
        raise InvalidRequest("start time cannot be after end time")
    return start, end


def _shape_moment(at: datetime) -> dict[str, Any]:
    return {"timestamp": shape_time(at), "timestampUnix": int(at.timestamp())}
