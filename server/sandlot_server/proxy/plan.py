"""A request's head, read once: what it asks, of whom, and what goes out in its place. Pure, and remembered."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from sandlot_protocol.http import ENVD_PORT
from sandlot_server.proxy.heads import Request, parse_request
from sandlot_server.proxy.routing import Site, Target, is_api_call, is_reserved, route

_REMEMBERED: Final = 1024
_LARGEST_REMEMBERED: Final = 2048


class Plan(NamedTuple):
    """What the head of a request decides, whichever sandboxes run."""

    request: Request
    target: Target
    is_reserved: bool
    """Whether this is a route of the agent that only the control plane calls."""
    is_repeatable: bool
    """Whether asking twice does no harm and needs no body."""
    head: bytes
    """The head for the upstream without the empty line."""


class Planner:
    """Reads heads for one site. Clients repeat themselves: a head seen before costs one look-up."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._remembered: Callable[[bytes], Plan] = lru_cache(_REMEMBERED)(self._read)

    def read(self, head: bytes) -> Plan:
        """Read a head, given without its empty line; raises HeadError or RoutingError."""
        return self._remembered(head) if len(head) <= _LARGEST_REMEMBERED else self._read(head)

    def _read(self, head: bytes) -> Plan:
        request = parse_request(head)
        fields = request.fields
        target = route(self._site, fields.host, fields.sandbox_id, fields.sandbox_port)
        if fields.sandbox_id and is_api_call(target, request.target, fields.has_api_key):
            target = Target("", 0)
        has_body = fields.chunked or bool(fields.content_length)
        return Plan(
            request=request,
            target=target,
            is_reserved=target.port == ENVD_PORT and is_reserved(request.target),
            is_repeatable=not has_body and request.method in (b"GET", b"HEAD", b"OPTIONS"),
            head=b"%b %b HTTP/1.1\r\n%b" % (request.method, request.target, fields.kept),
        )
