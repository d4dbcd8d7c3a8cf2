"""Which upstream a request is for, by its Host and its routing headers. Pure."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from sandlot_protocol.http import CONTROL_ROUTES, ENVD_PORT

_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._-]{1,254})(?::[0-9]{1,5})?")
_SANDBOX_ID: Final = re.compile(r"[a-z0-9]{1,64}")
_PLAIN_PATH: Final = re.compile(rb"(?:/(?!\.)[A-Za-z0-9_.-]++)*+/?")
_MAX_DECODINGS: Final = 8
_API_PATH: Final = re.compile(rb"/(?:v[0-9]+|sandboxes|templates|snapshots|volumes|secrets|teams)(?:[/?]|$)")


class RoutingError(Exception):
    """The request names no target; the text is what E2B's edge answers with status 400."""


class Target(NamedTuple):
    """A port of a sandbox, or the API."""

    sandbox_id: str
    """Empty for the API."""
    port: int
    is_local_name: bool = False
    """For the API: the host is one under which sandboxes are addressed by headers as well."""


class Site(NamedTuple):
    """The names that the front door answers to."""

    domain: str
    """Sandboxes answer under `<port>-<id>.<domain>`; may carry no port."""
    local_names: frozenset[str] = frozenset()
    """Further host names under which routing headers are honoured, as under localhost."""


class FileQuery(NamedTuple):
    """The part of a file URL that its signature covers."""

    path: str
    username: str
    expiration: int | None
    signature: str


@lru_cache(2048)
def route(site: Site, host: bytes, sandbox_id: bytes | None, sandbox_port: bytes | None) -> Target:
    """Return the target of a request; raises RoutingError."""
    match = _HOST.fullmatch(host)
    if match is None:
        raise RoutingError("Invalid host")
    name = match[1].decode("ascii").lower().removesuffix(".")
    if is_local_name(site, name):
        if sandbox_id or sandbox_port:
            return _route_by_headers(sandbox_id, sandbox_port)
        return Target("", 0, is_local_name=True)
    if name.endswith("." + site.domain) and name != "api." + site.domain:
        return _route_by_label(name.partition(".")[0])
    if (sandbox_id or sandbox_port) and name not in (site.domain, "api." + site.domain):
        # Not to be taken for a request to the API: its /health would say that the sandbox lives.
        raise RoutingError("Invalid host")
    return Target("", 0)


def is_api_call(target: Target, path: bytes, has_api_key: bool) -> bool:
    """Whether a request that routing headers send to an agent is meant for the API all the same.

    SDKs of an earlier era (seen with e2b 2.8.1, `connect`) put the routing headers on their API calls as well.
    Only those bear an API key, and the agent has no such paths.
    """
    return target.port == ENVD_PORT and has_api_key and _API_PATH.match(path) is not None


def is_local_name(site: Site, name: str) -> bool:
    """Whether routing headers are honoured under this host name (lower case, no port)."""
    if name == "localhost" or name == f"sandbox.{site.domain}" or name in site.local_names:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _route_by_headers(sandbox_id: bytes | None, sandbox_port: bytes | None) -> Target:
    if not sandbox_id or not sandbox_port:
        raise RoutingError("missing header")
    return Target(_check_id(sandbox_id.decode("latin-1")), _parse_port(sandbox_port.decode("latin-1")))


def _route_by_label(label: str) -> Target:
    port, dash, rest = label.partition("-")
    if not dash:
        raise RoutingError("Invalid host")
    number = _parse_port(port)
    return Target(_check_id(rest.partition("-")[0]), number)


def _check_id(sandbox_id: str) -> str:
    if _SANDBOX_ID.fullmatch(sandbox_id) is None:
        raise RoutingError("Invalid sandbox ID")
    return sandbox_id


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:9]) < 65536 or len(text) > 9:
        raise RoutingError("Invalid sandbox port")
    return int(text)


def is_reserved(target: bytes) -> bool:
    """Whether any reading of the request target makes it a route that belongs to the control plane."""
    path = target.partition(b"?")[0]
    if _PLAIN_PATH.fullmatch(path):
        return path.rstrip(b"/").lower().decode("latin-1") in CONTROL_ROUTES
    return bool(_readings(path) & CONTROL_ROUTES)


def _readings(path: bytes) -> set[str]:
    """Return what the path becomes when it is decoded once, twice, … and its segments are resolved."""
    found = set()
    for _ in range(_MAX_DECODINGS):
        found |= {_resolve(path), _resolve(path.partition(b"?")[0]), _resolve(path.partition(b"#")[0])}
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return found
        path = decoded
    return found | CONTROL_ROUTES  # nobody encodes a path that often for an honest reason


def _resolve(path: bytes) -> str:
    segments: list[str] = []
    for segment in path.decode("latin-1").replace("\\", "/").lower().split("/"):
        name = segment.partition(";")[0].strip(" \t\r\n\0")
        if name == "..":
            del segments[-1:]
        elif name not in ("", "."):
            segments.append(name)
    return "/" + "/".join(segments)


def parse_file_query(target: bytes) -> FileQuery | None:
    """Return what a file URL's signature covers, or None when the URL has none or is ambiguous."""
    pairs = parse_qsl(target.partition(b"?")[2].decode("latin-1"), keep_blank_values=True, max_num_fields=64)
    values = dict(pairs)
    names = [name for name, _ in pairs if name in ("path", "username", "signature", "signature_expiration")]
    if "signature" not in values or len(names) != len(set(names)):
        return None
    expiration = values.get("signature_expiration")
    if expiration is not None and not (expiration.isascii() and expiration.isdigit() and len(expiration) < 16):
        return None
    return FileQuery(
        path=values.get("path", ""),
        username=values.get("username", ""),
        expiration=None if expiration is None else int(expiration),
        signature=values["signature"],
    )
