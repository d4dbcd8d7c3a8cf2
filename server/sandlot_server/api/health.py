"""Whether the server is up."""

from __future__ import annotations

from fastapi import APIRouter, Response

router = APIRouter()


@router.get("/health")
async def health() -> Response:
    """Answer that the API can be used; needs no key."""
    return Response(status_code=204)
