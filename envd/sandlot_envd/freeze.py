"""Time stands still between /freeze and /unfreeze: the control plane says so around a pause of the container."""

from __future__ import annotations

from sandlot_envd.errors import Unimplemented
from sandlot_envd.http import Handler, Request, Response, Routes
from sandlot_envd.state import AgentState

NOT_HERE = {
    "/collapse": "this agent does not collapse memory into huge pages",
    "/fsfreeze": "this agent cannot freeze the filesystem: the engine pauses the container instead",
    "/fsthaw": "this agent cannot freeze the filesystem: the engine pauses the container instead",
    "/upgrade": "this agent is not replaced in a running sandbox: new sandboxes get the new one",
}
"""Routes of E2B's agent for machinery that a container does not have."""


def routes(state: AgentState) -> Routes:
    """Return the freeze family, all of it for the control plane alone."""

    async def freeze(request: Request) -> Response:
        state.clock.freeze()
        return Response(204, headers={"Cache-Control": "no-store"})

    async def unfreeze(request: Request) -> Response:
        state.clock.unfreeze()
        return Response(204, headers={"Cache-Control": "no-store"})

    refused = {("POST", path): _refuse(message) for path, message in NOT_HERE.items()}
    return {("POST", "/freeze"): freeze, ("POST", "/unfreeze"): unfreeze, **refused}


def _refuse(message: str) -> Handler:
    async def refuse(request: Request) -> Response:
        raise Unimplemented(message)

    return refuse
