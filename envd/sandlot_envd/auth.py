"""Who may call what: the sandbox's access token, and the control plane's own."""

from __future__ import annotations

# The same function as hmac.compare_digest; that module would load all of hashlib's with it.
from _operator import _compare_digest as compare_digest

from sandlot_envd.errors import Unauthenticated
from sandlot_envd.http import Handler, Request, Response, answer_error
from sandlot_envd.state import AgentState
from sandlot_protocol.http import ACCESS_TOKEN_HEADER, CONTROL_ROUTES, CONTROL_TOKEN_HEADER

OPEN = frozenset({("GET", "/health"), ("GET", "/files"), ("POST", "/files")})
"""Not guarded here: health tells nothing, and file URLs may be signed instead."""

NO_TOKEN = "unauthorized access, please provide a valid access token or method signing if supported"  # noqa: S105 - a message


def equals(given: str, wanted: str) -> bool:
    """Compare secrets without telling by the time taken how much of one was right."""
    return compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def check_access_token(state: AgentState, headers: dict[str, str]) -> None:
    """Raise Unauthenticated unless the request bears the sandbox's token, or the sandbox has none."""
    if state.access_token is not None and not equals(headers.get(ACCESS_TOKEN_HEADER, ""), state.access_token):
        raise Unauthenticated(NO_TOKEN)


def check_control_token(state: AgentState, headers: dict[str, str]) -> None:
    """Raise Unauthenticated unless the request comes from the control plane; without a token set, all may."""
    if state.control_token is not None and not equals(headers.get(CONTROL_TOKEN_HEADER, ""), state.control_token):
        raise Unauthenticated("this route belongs to the control plane")


def guard(state: AgentState, route: tuple[str, str], handler: Handler) -> Handler:
    """Return the handler behind the check that its route needs."""
    if route in OPEN:
        return handler
    check = check_control_token if route[1] in CONTROL_ROUTES else check_access_token

    async def guarded(request: Request) -> Response:
        try:
            check(state, request.headers)
        except Unauthenticated as error:
            return answer_error(error)
        return await handler(request)

    return guarded
