"""Whether a request may pass to a sandbox, and to which one where its address does not say."""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import unquote

from sandlot_protocol.http import ACCESS_TOKEN_HEADER
from sandlot_server.proxy import pages
from sandlot_server.proxy.directory import (
    Directory,
    Endpoint,
    Forbidden,
    LimitReached,
    StillTransitioning,
    WakeRequest,
)
from sandlot_server.proxy.heads import Request, find_field
from sandlot_server.proxy.pages import Answer
from sandlot_server.proxy.routing import Target, parse_file_query

_OPERATIONS: Final = {b"GET": ("read",), b"HEAD": ("read",), b"POST": ("write",), b"OPTIONS": ("read", "write")}


def is_bare_file_url(target: Target, request: Request) -> bool:
    """Whether this is a file URL that names no sandbox, as the SDKs make them under `E2B_SANDBOX_URL`."""
    return target.is_local_name and request.target.partition(b"?")[0] == b"/files" and request.method in _OPERATIONS


def find_by_file_url(directory: Directory, request: Request) -> Endpoint | Answer:
    """Return the sandbox whose token signed the URL or, when it is unsigned, the only one there is."""
    if b"signature=" not in request.target:
        only = directory.find_only()
        return only or pages.refused(400, "This URL names no sandbox, and there is not exactly one running")
    query = parse_file_query(request.target)
    if query is not None:
        for operation in _OPERATIONS[request.method]:
            found = directory.find_by_signature(
                query.path, operation, query.username, query.expiration, query.signature
            )
            if found is not None:
                return found
    return pages.refused(401, "invalid signature: it is not of a sandbox that is running")


def check_token(endpoint: Endpoint, request: Request) -> Answer | None:
    """Return the refusal of a request for a private port without the right token."""
    if endpoint.traffic_token is None:
        return None
    given = request.fields.traffic_token
    if not given:
        return pages.traffic_token_missing(endpoint.sandbox_id)
    if not hmac.compare_digest(given, endpoint.traffic_token.encode()):
        return pages.traffic_token_invalid(endpoint.sandbox_id)
    return None


async def wake(directory: Directory, target: Target, request: Request) -> Endpoint | Answer:
    """Resume a sandbox that does not run, where it is set to; else return what the client is told."""
    sandbox_id, token = target.sandbox_id, request.fields.traffic_token
    wanted = WakeRequest(
        port=target.port,
        envd_token=find_field(request.block, ACCESS_TOKEN_HEADER.encode()) or None,
        traffic_token=None if token is None else token.decode("latin-1"),
    )
    try:
        return await directory.wake(sandbox_id, wanted) or pages.sandbox_not_found(sandbox_id)
    except Forbidden:
        return pages.resume_denied(sandbox_id)
    except StillTransitioning:
        return pages.still_transitioning(sandbox_id)
    except LimitReached as error:
        return pages.limit_reached(sandbox_id, str(error))


def refuse_reserved(request: Request) -> Answer:
    """Return the answer to a route that only the control plane calls."""
    return pages.reserved_route(unquote(request.target.partition(b"?")[0].decode("latin-1")))
