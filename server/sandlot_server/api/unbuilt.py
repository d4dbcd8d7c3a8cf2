"""Routes of E2B's API that this version does not have: each answers with an error that names the feature."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from sandlot_server.api.requests import require_key
from sandlot_server.errors import NotBuilt

FEATURES = {
    "/templates": "building a template by docker push (newer clients do without)",
    "/v2/templates": "building a template by docker push (newer clients do without)",
    "/templates/{rest:path}": "this route of the template API",
    "/default-templates": "the list of default templates",
    "/volumes": "the volume API",
    "/volumes/{rest:path}": "the volume API",
    "/secrets": "the secret API",
    "/secrets/{rest:path}": "the secret API",
    "/teams/{rest:path}": "the team API",
}

router = APIRouter(dependencies=[Depends(require_key)])


def _add(path: str, feature: str) -> None:
    async def refuse(request: Request) -> Response:
        raise NotBuilt(feature)

    router.add_api_route(path, refuse, methods=["GET", "POST", "PUT", "PATCH", "DELETE"], response_model=None)


for _path, _feature in FEATURES.items():
    _add(_path, _feature)
