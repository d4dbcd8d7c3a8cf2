"""Where the server is, who asks, and how long to wait: options first, then the environment, then this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict, Unpack, cast

from sandlot_protocol.http import ENVD_PORT

from .discovery import LocalServer, find_local_server
from .exceptions import InvalidArgumentException

if TYPE_CHECKING:
    import logging

VERSION = "0.1.0"

REQUEST_TIMEOUT_S = 60.0
CONTROL_RETRIES = 3
KEEPALIVE_S = 50
LOCAL_DOMAIN = "e2b.localhost"

Username = str
"""A user of the sandbox's operating system."""

HttpVersion = Literal["1.1", "2"]

DEFAULT_USER: Username = "user"


class ProxyWithCredentials(Protocol):
    """What `httpx.Proxy` has: a URL, and the name and password kept apart from it."""

    @property
    def url(self) -> object:
        """`http://host:port`, or an object that reads so."""

    @property
    def auth(self) -> tuple[str, str] | None:
        """Name and password."""


ProxyTypes = str | ProxyWithCredentials
"""An HTTP proxy: `http://[name:password@]host:port` (or https), an `httpx.Proxy`, or anything like one."""


class ApiParams(TypedDict, total=False):
    """Options of every call; those given when a sandbox is made stay with it."""

    request_timeout: float | None
    """Seconds for one request, 60 unless given; 0 for no limit."""

    retries: int | None
    """How often an API call answered 429, 502, 503 or 504 is tried again, 3 unless given. `Should-Retry` and
    `Retry-After` of the answer decide, within the request timeout."""

    headers: dict[str, str] | None
    """Further headers of API requests; `api_headers` is the newer name."""

    api_headers: dict[str, str] | None
    """Further headers of API requests."""

    api_key: str | None
    """Else E2B_API_KEY, else the developer key of this machine's server."""

    domain: str | None
    """Else E2B_DOMAIN. With one, the API is `https://api.<domain>` and a sandbox `https://<port>-<id>.<domain>`."""

    api_url: str | None
    """Else E2B_API_URL, else what `domain` gives, else this machine's server."""

    debug: bool | None
    """Else E2B_DEBUG. Speak to an agent on localhost:49983, without an API."""

    proxy: ProxyTypes | None
    """HTTP proxy for all requests."""

    sandbox_url: str | None
    """Else E2B_SANDBOX_URL. Base URL of all sandboxes, told apart by headers."""

    http_version: HttpVersion | None
    """Only "1.1": the client speaks nothing else."""


class ConnectionConfig:
    """The options of `ApiParams`, resolved; also the headers and the URLs of one sandbox."""

    envd_port = ENVD_PORT

    def __init__(
        self,
        domain: str | None = None,
        debug: bool | None = None,
        api_key: str | None = None,
        api_url: str | None = None,
        sandbox_url: str | None = None,
        request_timeout: float | None = None,
        headers: dict[str, str] | None = None,
        api_headers: dict[str, str] | None = None,
        extra_sandbox_headers: dict[str, str] | None = None,
        proxy: ProxyTypes | None = None,
        logger: logging.Logger | None = None,
        *,
        retries: int | None = None,
        http_version: str | None = None,
    ) -> None:
        self.local = find_local_server()
        self.debug = debug if debug is not None else os.environ.get("E2B_DEBUG", "").lower() == "true"
        self._domain = domain or os.environ.get("E2B_DOMAIN") or None
        self.api_url = (api_url or os.environ.get("E2B_API_URL") or self._find_api_url()).rstrip("/")
        self.api_key = api_key or os.environ.get("E2B_API_KEY") or self._find_api_key(self.local)
        self._sandbox_url = sandbox_url or os.environ.get("E2B_SANDBOX_URL") or None
        self.domain = self._domain or self._name_local_domain()
        self.headers = {"User-Agent": f"sandlot-python/{VERSION}", **(headers or {}), **(api_headers or {})}
        self._extra_sandbox_headers = extra_sandbox_headers or {}
        self.proxy = proxy
        self.logger = logger
        self.retries = _check_retries(CONTROL_RETRIES if retries is None else retries)
        self.request_timeout = self._resolve_timeout(REQUEST_TIMEOUT_S, request_timeout)
        self.http_version = _check_http_version(http_version)

    def _find_api_url(self) -> str:
        if self.debug:
            return "http://localhost:3000"
        return f"https://api.{self._domain}" if self._domain else self.local.url

    def _find_api_key(self, local: LocalServer) -> str | None:
        # The key of this machine's server is for that server alone, whatever else an option points at.
        return local.api_key if self.api_url == local.url.rstrip("/") else None

    def _name_local_domain(self) -> str:
        """Name a domain that leads back to the API's port: `*.localhost` is always this machine."""
        scheme, _, rest = self.api_url.partition("://")
        port = rest.rpartition(":")[2] if scheme == "http" else ""
        return f"{LOCAL_DOMAIN}:{port}" if port.isdigit() else LOCAL_DOMAIN

    @staticmethod
    def _resolve_timeout(default: float | None, request_timeout: float | None) -> float | None:
        if request_timeout == 0:
            return None
        return default if request_timeout is None else request_timeout

    def get_request_timeout(self, request_timeout: float | None = None) -> float | None:
        """Seconds one request may take, None for no limit; `request_timeout` is the call's own option."""
        return self._resolve_timeout(self.request_timeout, request_timeout)

    @property
    def sandbox_headers(self) -> dict[str, str]:
        """Headers of every request to the sandbox; the API key is not among them."""
        return {"User-Agent": self.headers["User-Agent"], **self._extra_sandbox_headers}

    @property
    def host_scheme(self) -> str:
        """How the sandbox's hosts are reached: without a domain it is the API's own port, mostly plain HTTP."""
        return "https" if self._domain else self.api_url.partition("://")[0]

    def get_sandbox_url(self, sandbox_id: str, sandbox_domain: str, port: int | None = None) -> str:
        """Base URL of requests to the sandbox's agent, or to the service on another `port` of it."""
        if self._sandbox_url:
            return self._sandbox_url.rstrip("/")
        if self.debug:
            return f"http://{self.get_host(sandbox_id, sandbox_domain, port or self.envd_port)}"
        if not self._domain:
            return self.api_url  # one port serves both; the sandbox is named by the requests' headers
        return f"https://{self.get_host(sandbox_id, sandbox_domain, port or self.envd_port)}"

    def get_sandbox_direct_url(self, sandbox_id: str, sandbox_domain: str, port: int | None = None) -> str:
        """Base URL for whoever sends no headers of ours, such as a browser with a signed URL."""
        if self._sandbox_url:
            return self._sandbox_url.rstrip("/")
        host = self.get_host(sandbox_id, sandbox_domain, port or self.envd_port)
        return f"{'http' if self.debug else self.host_scheme}://{host}"

    def get_host(self, sandbox_id: str, sandbox_domain: str, port: int) -> str:
        """Host name (and port, where the domain has one) that leads to `port` inside the sandbox."""
        return f"localhost:{port}" if self.debug else f"{port}-{sandbox_id}.{sandbox_domain}"

    def get_api_params(self, **opts: Unpack[ApiParams]) -> ApiParams:
        """Return this configuration as options, with those of one call laid over it."""
        headers = {**self.headers, **(opts.get("headers") or {}), **(opts.get("api_headers") or {})}
        own: ApiParams = {
            "request_timeout": self.request_timeout or 0,
            "retries": self.retries,
            "api_key": self.api_key,
            "domain": self._domain,
            "api_url": self.api_url,
            "debug": self.debug,
            "proxy": self.proxy,
            "sandbox_url": self._sandbox_url,
            "http_version": self.http_version,
        }
        given = {name: value for name, value in opts.items() if value is not None}
        return cast("ApiParams", {**own, **given, "headers": headers, "api_headers": None})


def _check_retries(retries: int) -> int:
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise InvalidArgumentException(f"retries must be a whole number of 0 or more, not {retries!r}")
    return retries


def _check_http_version(version: str | None) -> Literal["1.1"]:
    if version not in (None, "1.1"):
        raise InvalidArgumentException(
            f"http_version {version!r} is not supported: this client speaks HTTP/1.1, on connections that it keeps"
        )
    return "1.1"
