"""Routes by which the command line hands things to a server that runs."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from sandlot_server.api.requests import require_default_team, require_key
from sandlot_server.bundle import templates
from sandlot_server.errors import BundleError

router = APIRouter(dependencies=[Depends(require_key), Depends(require_default_team)])


@router.post("/_sandlot/templates")
async def adopt_templates(request: Request) -> Response:
    """Take over templates whose images are on the engine, as a bundle describes them."""
    body = await request.json()
    if not isinstance(body, list) or not all(isinstance(one, dict) for one in body):
        raise BundleError("a list of templates is expected")
    found = [templates.decode(one) for one in body]
    await templates.adopt(found, runtime=request.app.state.runtime, catalogue=request.app.state.catalogue)
    return Response(status_code=204)
