# Generated from client/sandlot/_async/session.py by sandlot._dev.unasync: change that file, not this one.
"""Requests below one base URL: what all of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sandlot._http import Address, encode_query, parse_url, request_head
from sandlot._sync.stream import CONNECT_TRIES, proxy_headers
from sandlot._sync.transport import Body, Limits, Response, Route, SizedBody, shared_pool
from sandlot.config import ProxyTypes
from sandlot.exceptions import InvalidArgumentException

if TYPE_CHECKING:
    import logging


class Call(NamedTuple):
    """One request."""

    method: str
    path: str
    query: dict[str, str] | None = None
    headers: dict[str, str] | None = None
    body: Body = b""


class Session:
    """A base URL, the headers of every request to it, and the way there."""

    def __init__(
        self, base_url: str, headers: dict[str, str], proxy: ProxyTypes | None, logger: logging.Logger | None
    ) -> None:
        self.base_url = base_url
        self._address = parse_url(base_url)
        self._headers = headers
        self._proxy = parse_proxy(proxy)
        self._log = logger

    def send(self, call: Call, limits: Limits, tries: int = CONNECT_TRIES) -> Response:
        """Send a request and return its response, its body still to come. Raises TransportError."""
        url = f"{self.base_url}{call.path}"
        if self._log is not None:
            self._log.info("Request %s %s", call.method, url)
        route = Route(self._address.origin, self._proxy)
        response = shared_pool().exchange(route, self._make_head(call), call.body, limits, tries)
        if self._log is not None:
            log = self._log.error if response.status >= 400 else self._log.info
            log("Response %d %s", response.status, url)
        return response

    def _make_head(self, call: Call) -> bytes:
        origin = self._address.origin
        target = self._address.path + call.path + encode_query(call.query or {})
        headers = {"Accept-Encoding": "identity", **self._headers, **(call.headers or {})}
        if isinstance(call.body, SizedBody):
            headers["Content-Length"] = str(call.body.size)
        elif not isinstance(call.body, bytes):
            headers["Transfer-Encoding"] = "chunked"
        elif call.body or call.method != "GET":
            headers["Content-Length"] = str(len(call.body))
        lines = [("Host", origin.netloc), *headers.items()]
        if self._proxy and origin.scheme == "http":
            target = f"http://{origin.netloc}{target}"
            lines += proxy_headers(self._proxy)
        return request_head(call.method, target, lines)


def parse_proxy(proxy: ProxyTypes | None) -> Address | None:
    """Take the `proxy` option apart. Raises InvalidArgumentException for what is not an HTTP proxy."""
    if proxy is None:
        return None
    url = proxy if isinstance(proxy, str) else str(getattr(proxy, "url", proxy))
    if url.startswith("socks"):
        raise InvalidArgumentException(f"proxy: only HTTP proxies are supported, not {url.partition('://')[0]}")
    address = parse_url(url, "proxy")
    if auth := getattr(proxy, "auth", None):
        return address._replace(credentials=f"{auth[0]}:{auth[1]}")
    if address.credentials:
        from urllib.parse import unquote  # a URL's password is percent-encoded

        return address._replace(credentials=unquote(address.credentials))
    return address
