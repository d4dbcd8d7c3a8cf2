# Generated from client/sandlot/_async/sandbox.py by sandlot._dev.unasync: change that file, not this one.
"""The sandbox object."""

from __future__ import annotations

import builtins
import json
from typing import TYPE_CHECKING, Any, Self, Unpack

from sandlot._create import build_create_request, check_idempotency_key
from sandlot._sandbox_base import SandboxOpts
from sandlot._sync.api import Api
from sandlot._sync.commands import Commands
from sandlot._sync.connecting import Connect, Fork
from sandlot._sync.envd import Envd
from sandlot._sync.filesystem import Filesystem
from sandlot._sync.pty import Pty
from sandlot._sync.sandbox_api import SandboxApi
from sandlot._versions import ANY, OLDEST, parse_version
from sandlot._wire import CreatedSandbox, parse_created
from sandlot.config import ApiParams, ConnectionConfig
from sandlot.exceptions import SandboxException, TemplateException
from sandlot.lifecycle import SandboxLifecycle, SandboxOnResume
from sandlot.models import CommandExitException
from sandlot.network import SandboxIamOpts, SandboxNetworkOpts

if TYPE_CHECKING:
    import logging

    from sandlot.mcp import McpServer

DEBUG_SANDBOX = "debug_sandbox_id"


class Sandbox(SandboxApi):
    """A sandbox: a machine of its own for files and commands.

    `sandbox = Sandbox.create()` makes one; used with `with`, it is killed at the end.
    Methods that are about a sandbox as a whole can be called on the class as well, with the id first:
    `Sandbox.kill(sandbox_id)`.
    """

    def __init__(self, **opts: Unpack[SandboxOpts]) -> None:
        super().__init__(**opts)
        self._envd = Envd(self._config, self.envd_api_url, self._envd_version)
        self._files = Filesystem(self._envd, self._config)
        self._commands = Commands(self._envd)
        self._pty = Pty(self._envd)

    @property
    def files(self) -> Filesystem:
        """Files in the sandbox."""
        return self._files

    @property
    def commands(self) -> Commands:
        """Commands in the sandbox."""
        return self._commands

    @property
    def pty(self) -> Pty:
        """Terminal sessions in the sandbox."""
        return self._pty

    @classmethod
    def create(
        cls,
        template: str | None = None,
        timeout: int | None = None,
        metadata: dict[str, str] | None = None,
        envs: dict[str, str] | None = None,
        secure: bool | None = True,
        allow_internet_access: bool | None = True,
        mcp: McpServer | None = None,
        network: SandboxNetworkOpts | None = None,
        iam: SandboxIamOpts | None = None,
        lifecycle: SandboxLifecycle | None = None,
        volume_mounts: dict[str, Any] | None = None,
        logger: logging.Logger | None = None,
        idempotency_key: str | None = None,
        **opts: Unpack[ApiParams],
    ) -> Self:
        """Make a sandbox and return it, ready for use.

        `template`: name or id of a template or snapshot, `base` unless given.
        `timeout`: seconds until the sandbox ends, 300 unless given.
        `metadata`: to find it by, with `list`. `envs`: environment of its commands.
        `secure`: whether its agent asks for a token, which this object holds.
        `allow_internet_access`: False is `network={"deny_out": [ALL_TRAFFIC]}`.
        `mcp`: MCP servers to start in it. `network`: what it may reach, and who may reach it.
        `iam`: tokens for its requests. `lifecycle`: what happens at its timeout.
        `volume_mounts`: volumes, or their names, by the path they are mounted on.
        `logger`: told about every request. `idempotency_key`: makes the same call again return the same sandbox.
        """
        template = template or (cls.default_template if mcp is None else cls.default_mcp_template)
        if secure is False and timeout is None:
            timeout = cls.default_sandbox_timeout  # the route for this has another default
        body = build_create_request(
            template, timeout, metadata, envs, allow_internet_access, mcp, network, iam, lifecycle, volume_mounts
        )
        headers = check_idempotency_key(idempotency_key)
        params = cls._resolve(opts)
        config = ConnectionConfig(logger=logger, **params)
        created = cls._request(config, body, headers, secure is not False)
        sandbox = cls._from_created(created, params, logger)
        if mcp is not None:
            sandbox._start_mcp(mcp)
        return sandbox

    @classmethod
    def _request(
        cls, config: ConnectionConfig, body: dict[str, Any], headers: dict[str, str], secure: bool
    ) -> CreatedSandbox:
        if config.debug:
            return CreatedSandbox(DEBUG_SANDBOX, None, ".".join(map(str, ANY)), None, None)
        path = "/v2/sandboxes" if secure else "/sandboxes"
        answer = Api(config).call("POST", path, body if secure else {**body, "secure": False}, headers=headers)
        created = answer.parse(parse_created, "create")
        if parse_version(created.envd_version) < OLDEST:
            cls._kill_by_id(created.sandbox_id, **config.get_api_params())
            raise TemplateException("The template's agent is too old for this client: build the template again")
        return created

    def _start_mcp(self, mcp: McpServer) -> None:
        from shlex import quote
        from uuid import uuid4

        self._mcp_token = str(uuid4())
        command = f"mcp-gateway --config {quote(json.dumps(mcp))}"
        try:
            self.commands.run(command, user="root", envs={"GATEWAY_ACCESS_TOKEN": self._mcp_token})
        except BaseException as error:
            self.kill()
            if isinstance(error, CommandExitException):
                raise SandboxException(f"Failed to start MCP gateway: {error.stderr}") from error
            raise

    @classmethod
    def beta_create(
        cls,
        template: str | None = None,
        timeout: int | None = None,
        auto_pause: bool = False,
        metadata: dict[str, str] | None = None,
        envs: dict[str, str] | None = None,
        secure: bool | None = True,
        allow_internet_access: bool | None = True,
        mcp: McpServer | None = None,
        **opts: Unpack[ApiParams],
    ) -> Self:
        """Make a sandbox; with `auto_pause` it is paused at its timeout. The newer form is `create(lifecycle=…)`."""
        lifecycle: SandboxLifecycle = {"on_timeout": "pause" if auto_pause else "kill"}
        return cls.create(
            template, timeout, metadata, envs, secure, allow_internet_access, mcp, lifecycle=lifecycle, **opts
        )

    def _connect(
        self, timeout: int | None = None, *, on_resume: SandboxOnResume = "restore", **opts: Unpack[ApiParams]
    ) -> Self:
        """Return the sandbox connected, resuming it if it is paused.

        `timeout`: seconds until it ends; that of a running sandbox is only ever lengthened by this.
        `on_resume`: "reboot" starts it afresh from its files, without its processes.
        """
        if not self._config.debug:
            self._connect_to(self._sandbox_id, timeout, on_resume, self._config.get_api_params(**opts))
        return self

    @classmethod
    def _connect_by_id(
        cls,
        sandbox_id: str,
        timeout: int | None = None,
        logger: logging.Logger | None = None,
        *,
        on_resume: SandboxOnResume = "restore",
        **opts: Unpack[ApiParams],
    ) -> Self:
        """Return the object of a sandbox, resuming the sandbox if it is paused."""
        params = cls._resolve(opts)
        if ConnectionConfig(**params).debug:
            created = CreatedSandbox(sandbox_id, None, ".".join(map(str, ANY)), None, None)
        else:
            created = cls._connect_to(sandbox_id, timeout, on_resume, params)
        return cls._from_created(created, params, logger)

    connect = Connect(_connect, _connect_by_id)

    def _fork(
        self, timeout: int | None = None, count: int | None = None, **opts: Unpack[ApiParams]
    ) -> builtins.list[Self | Exception]:
        """Make `count` sandboxes (1 unless given, 20 at most) that begin as this one is now.

        Each of the results is a sandbox, or the exception that says why there is none.
        """
        return self._fork_by_id(self._sandbox_id, timeout, count, **self._config.get_api_params(**opts))

    @classmethod
    def _fork_by_id(
        cls,
        sandbox_id: str,
        timeout: int | None = None,
        count: int | None = None,
        logger: logging.Logger | None = None,
        **opts: Unpack[ApiParams],
    ) -> builtins.list[Self | Exception]:
        """Make sandboxes that begin as the one with this id is now."""
        params = cls._resolve(opts)
        results = cls._fork_from(sandbox_id, timeout, count, params)
        return [
            result if isinstance(result, Exception) else cls._from_created(result, params, logger) for result in results
        ]

    fork = Fork(_fork, _fork_by_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    def is_running(self, request_timeout: float | None = None) -> bool:
        """Whether the sandbox runs. `request_timeout`: seconds for the request, 0 for no limit."""
        return self._envd.is_running(request_timeout)

    def get_mcp_token(self) -> str | None:
        """Token of the MCP gateway, of a sandbox created with `mcp`."""
        if self._mcp_token is None:
            self._mcp_token = self.files.read("/etc/mcp-gateway/.token", user="root")
        return self._mcp_token
