"""The routes of /files. What they need is loaded with the first request."""

from __future__ import annotations

from sandlot_envd.http import Request, Response, Routes
from sandlot_envd.state import AgentState


def routes(state: AgentState) -> Routes:
    """Return the handlers for downloads, uploads and composing."""

    async def get(request: Request) -> Response:
        from sandlot_envd.download import download

        return await download(state, request)

    async def post(request: Request) -> Response:
        from sandlot_envd.upload import upload

        return await upload(state, request)

    async def compose(request: Request) -> Response:
        from sandlot_envd.compose import compose as compose_files

        return await compose_files(state, request)

    return {("GET", "/files"): get, ("POST", "/files"): post, ("POST", "/files/compose"): compose}
