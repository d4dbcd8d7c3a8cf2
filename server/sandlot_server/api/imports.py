"""Routes by which the command line hands things to a server that runs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import RootModel

from sandlot_server.api.requests import read_body, require_default_team, require_key
from sandlot_server.bundle import templates

router = APIRouter(dependencies=[Depends(require_key), Depends(require_default_team)])


class Templates(RootModel[list[dict[str, Any]]]):
    """Templates as a bundle describes them."""


@router.post("/_sandlot/templates")
async def adopt_templates(request: Request) -> Response:
    """Take over templates whose images are on the engine, as a bundle describes them."""
    body = await read_body(request, Templates)
    found = [templates.decode(one) for one in body.root]
    await templates.adopt(found, runtime=request.app.state.runtime, catalogue=request.app.state.catalogue)
    return Response(status_code=204)
