"""What a sandbox object knows without asking anybody: ids, tokens and URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, TypedDict, Unpack, cast

from ._http import encode_query
from ._versions import DEFAULT_USER as AGENT_KNOWS_USER
from ._versions import EnvdVersion, parse_version
from ._wire import CreatedSandbox
from .config import DEFAULT_USER, ApiParams, ConnectionConfig
from .exceptions import InvalidArgumentException

if TYPE_CHECKING:
    from sandlot_protocol.signing import Operation


class SandboxOpts(TypedDict):
    """What a sandbox object is made of; `create` and `connect` do it."""

    sandbox_id: str
    sandbox_domain: str | None
    envd_version: object
    envd_access_token: str | None
    traffic_access_token: str | None
    connection_config: ConnectionConfig


class SandboxBase:
    """Ids, tokens and URLs of one sandbox."""

    mcp_port = 50005
    default_sandbox_timeout = 300
    default_template = "base"
    default_mcp_template = "mcp-gateway"

    _bound_api_params: ClassVar[ApiParams] = {}

    def __init__(self, **opts: Unpack[SandboxOpts]) -> None:
        self._config = opts["connection_config"]
        self._sandbox_id = opts["sandbox_id"]
        self._sandbox_domain = opts["sandbox_domain"] or self._config.domain
        self._envd_version: EnvdVersion = parse_version(opts["envd_version"])
        self._envd_access_token = opts["envd_access_token"]
        self._traffic_access_token = opts.get("traffic_access_token")
        self._mcp_token: str | None = None

    @classmethod
    def _resolve(cls, opts: ApiParams) -> ApiParams:
        """Lay the options of one call over those bound to the class."""
        given = {name: value for name, value in opts.items() if value is not None}
        return cast("ApiParams", {**cls._bound_api_params, **given})

    @classmethod
    def _from_created(cls, created: CreatedSandbox, opts: ApiParams, logger: Any = None) -> Self:
        """Make the object of a sandbox that the API told about."""
        headers = {
            "E2b-Sandbox-Id": created.sandbox_id,
            "E2b-Sandbox-Port": str(ConnectionConfig.envd_port),
        }
        if created.envd_access_token:
            headers["X-Access-Token"] = created.envd_access_token
        return cls(
            sandbox_id=created.sandbox_id,
            sandbox_domain=created.domain,
            envd_version=created.envd_version,
            envd_access_token=created.envd_access_token,
            traffic_access_token=created.traffic_access_token,
            connection_config=ConnectionConfig(extra_sandbox_headers=headers, logger=logger, **opts),
        )

    @property
    def connection_config(self) -> ConnectionConfig:
        """Where the server is, and the options given when the object was made."""
        return self._config

    @property
    def sandbox_id(self) -> str:
        """ID of the sandbox."""
        return self._sandbox_id

    @property
    def sandbox_domain(self) -> str:
        """Domain of the sandbox's hosts."""
        return self._sandbox_domain

    @property
    def traffic_access_token(self) -> str | None:
        """Value for the header `e2b-traffic-access-token`, if the sandbox's ports need one."""
        return self._traffic_access_token

    @property
    def envd_api_url(self) -> str:
        """Base URL of requests to the sandbox's agent."""
        return self._config.get_sandbox_url(self._sandbox_id, self._sandbox_domain)

    @property
    def envd_direct_url(self) -> str:
        """Base URL of signed file URLs."""
        return self._config.get_sandbox_direct_url(self._sandbox_id, self._sandbox_domain)

    def get_host(self, port: int) -> str:
        """Host name (and port, where the domain has one) that leads to `port` inside the sandbox."""
        return self._config.get_host(self._sandbox_id, self._sandbox_domain, port)

    def get_mcp_url(self) -> str:
        """URL of the MCP gateway, of a sandbox created with `mcp`."""
        return f"{self._config.host_scheme}://{self.get_host(self.mcp_port)}/mcp"

    def download_url(self, path: str, user: str | None = None, use_signature_expiration: int | None = None) -> str:
        """URL that downloads a file with GET, signed if the sandbox is secured.

        `use_signature_expiration`: seconds the URL is good for. Raises InvalidArgumentException without security.
        """
        return self._file_url(path, "read", user, use_signature_expiration)

    def upload_url(self, path: str, user: str | None = None, use_signature_expiration: int | None = None) -> str:
        """URL that uploads a file with POST as multipart/form-data; otherwise as `download_url`."""
        return self._file_url(path, "write", user, use_signature_expiration)

    def _file_url(self, path: str, operation: Operation, user: str | None, expires_s: int | None) -> str:
        name = DEFAULT_USER if user is None and self._envd_version < AGENT_KNOWS_USER else user
        query = {"path": path} if path else {}
        if name:
            query["username"] = name
        if self._envd_access_token:
            from .signature import get_signature  # most sandboxes never need one

            signed = get_signature(path, operation, name, self._envd_access_token, expires_s)
            query["signature"] = signed["signature"]
            if signed["expiration"] is not None:
                query["signature_expiration"] = str(signed["expiration"])
        elif expires_s is not None:
            raise InvalidArgumentException("use_signature_expiration needs a sandbox created as secured")
        return f"{self.envd_direct_url}/files{encode_query(query)}"
