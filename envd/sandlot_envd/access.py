"""Who may read or write a file by URL: the sandbox's token in a header, or a signature made with it."""

from __future__ import annotations

import time

from sandlot_envd.auth import equals
from sandlot_envd.errors import BadRequest, Unauthenticated
from sandlot_envd.http import Request
from sandlot_envd.rpc import read_basic_user
from sandlot_envd.state import AgentState
from sandlot_envd.users import User
from sandlot_protocol.http import ACCESS_TOKEN_HEADER
from sandlot_protocol.signing import Operation, sign


def check_access(state: AgentState, request: Request, operation: Operation) -> None:
    """Raise Unauthenticated unless this request may do `operation`; the order of the checks is E2B's.

    Raises BadRequest for an expiration that is no number.
    """
    expiration = _read_expiration(request.query.get("signature_expiration"))
    token = state.access_token
    if token is None:
        return
    if given := request.headers.get(ACCESS_TOKEN_HEADER):
        if not equals(given, token):
            raise Unauthenticated("access token present in header but does not match")
        return
    _check_signature(request, operation, token, expiration)


def _check_signature(request: Request, operation: Operation, token: str, expiration: int | None) -> None:
    query = request.query
    given = query.get("signature")
    if given is None:
        raise Unauthenticated("missing signature query parameter")
    if not equals(given, sign(query.get("path", ""), operation, query.get("username", ""), token, expiration)):
        raise Unauthenticated("invalid signature")
    if expiration is not None and expiration < int(time.time()):
        raise Unauthenticated("signature is already expired")


def _read_expiration(text: str | None) -> int | None:
    """Return unix seconds; raises BadRequest for what is not a number of 64 bits."""
    if text is None:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise BadRequest("signature_expiration is not a number")
    return int(text)


def find_request_user(state: AgentState, request: Request) -> User:
    """Return the user that the query or basic authentication names, else the default one."""
    return state.find_user(request.query.get("username") or read_basic_user(request.headers))
