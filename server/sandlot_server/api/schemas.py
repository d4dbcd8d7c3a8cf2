"""Requests and answers of the sandbox routes, as they are on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from sandlot_protocol.http import ENVD_VERSION
from sandlot_server.api.network import Network, make_egress, make_ingress, shape_network
from sandlot_server.api.wire import Wire
from sandlot_server.errors import InvalidRequest
from sandlot_server.identity import Identity
from sandlot_server.listing import MAX_PAGE, public_state
from sandlot_server.models import Idempotency, Lifecycle, NewSandbox, Sandbox
from sandlot_server.settings import Settings

CLIENT_ID = "sandlot"
"""Clients expect one and older ones append it to the sandbox id; it has no meaning."""
V1_TIMEOUT_S = 15
V2_TIMEOUT_S = 300

Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]


class AutoResume(Wire):
    """`autoResume` of a create request."""

    enabled: bool


class CreateBody(Wire):
    """What the create requests of both API versions share."""

    templateID: Annotated[str, Field(min_length=1, max_length=256)]  # noqa: N815
    timeout: Int32 | None = None
    autoPause: bool | None = None  # noqa: N815
    autoPauseMemory: bool | None = None  # noqa: N815
    autoResume: AutoResume | None = None  # noqa: N815
    secure: bool | None = None
    allow_internet_access: bool | None = None
    network: Network | None = None
    metadata: dict[str, str] | None = None
    envVars: dict[str, str] | None = None  # noqa: N815
    mcp: dict[str, Any] | None = None
    iam: dict[str, Any] | None = None
    volumeMounts: list[Any] | None = None  # noqa: N815

    @model_validator(mode="after")
    def _refuse_what_does_not_work(self) -> CreateBody:
        wanted = {
            "iam": bool(self.iam),
            "volumeMounts": bool(self.volumeMounts),
        }
        for name, asked in wanted.items():
            if asked:
                raise ValueError(f"'{name}' is not supported in this version of Sandlot")
        return self

    @field_validator("envVars")
    @classmethod
    def _check_env_vars(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name, text in (value or {}).items():
            if not name or "=" in name or "\0" in name + text:
                raise ValueError(f"'{name}' cannot be an environment variable")
        return value

    def to_new_sandbox(
        self, settings: Settings, *, default_timeout_s: int, secure: bool, idempotency: Idempotency | None = None
    ) -> NewSandbox:
        """The request as the service takes it; raises InvalidRequest on fields that contradict each other."""
        lifecycle = Lifecycle(
            auto_pause=bool(self.autoPause),
            auto_pause_memory=self.autoPauseMemory is not False,
            auto_resume=self.autoResume is not None and self.autoResume.enabled,
        )
        check_lifecycle(lifecycle)
        return NewSandbox(
            template=self.templateID,
            timeout_s=default_timeout_s if self.timeout is None else self.timeout,
            secure=secure,
            metadata=self.metadata or {},
            env_vars=self.envVars or {},
            lifecycle=lifecycle,
            ingress=make_ingress(self.network, secure),
            egress=make_egress(self.network, self.allow_internet_access, settings),
            mcp_servers=tuple(self.mcp or ()),
            idempotency=idempotency,
        )


def check_lifecycle(lifecycle: Lifecycle) -> None:
    """Refuse combinations that cannot be; raises InvalidRequest."""
    if lifecycle.auto_pause_memory:
        return
    if not lifecycle.auto_pause:
        raise InvalidRequest("autoPauseMemory=false only applies when autoPause is true.")
    if lifecycle.auto_resume:
        raise InvalidRequest(
            "autoPauseMemory=false (filesystem-only auto-pause) cannot be combined with autoResume: "
            "what was paused without memory is not resumed by traffic, only explicitly."
        )


class ConnectBody(Wire):
    """Body of a connect request; v1 clients must send a timeout."""

    timeout: Int32 = V2_TIMEOUT_S
    memory: bool | None = None


class ConnectBodyV1(ConnectBody):
    """Body of a connect request to the first API version."""

    timeout: Int32


class ResumeBody(Wire):
    """Body of a resume request."""

    timeout: Int32 = V1_TIMEOUT_S
    autoPause: bool | None = None  # noqa: N815
    memory: bool | None = None


class PauseBody(Wire):
    """Body of a pause request."""

    memory: bool | None = None
    requireHealthyGuest: bool | None = None  # noqa: N815


class SnapshotBody(Wire):
    """Body of a snapshot request."""

    name: str | None = None
    memory: bool | None = None

    @field_validator("memory")
    @classmethod
    def _refuse_memory(cls, value: bool | None) -> bool | None:
        if value:
            raise ValueError("'memory=true' is not supported in this version of Sandlot: snapshots keep files")
        return value


class ForkBody(Wire):
    """Body of a fork request."""

    timeout: Int32 = V1_TIMEOUT_S
    count: Int32 = 1


class TimeoutBody(Wire):
    """Body of a timeout request."""

    timeout: Int32


class RefreshBody(Wire):
    """Body of a refresh request."""

    duration: Annotated[int, Field(ge=0, le=3600)] | None = None


def parse_limit(text: str | None) -> int:
    """The `limit` of a list, cut to what a page can hold; raises InvalidRequest."""
    if text is None:
        return MAX_PAGE
    if not text.isdecimal() or int(text) < 1:
        raise InvalidRequest("Invalid limit parameter: it must be a number of at least 1")
    return min(int(text), MAX_PAGE)


def shape_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def shape_sandbox(sandbox: Sandbox, identity: Identity) -> dict[str, Any]:
    """The answer to create and connect."""
    answer: dict[str, Any] = {
        "templateID": sandbox.spec.template_id,
        "sandboxID": sandbox.id,
        "clientID": CLIENT_ID,
        "envdVersion": ENVD_VERSION,
        "domain": None,
    }
    if sandbox.spec.alias is not None:
        answer["alias"] = sandbox.spec.alias
    if sandbox.spec.secure:
        answer["envdAccessToken"] = identity.envd_token(sandbox.id)
    if sandbox.spec.ingress is not None and not sandbox.spec.ingress.allow_public_traffic:
        answer["trafficAccessToken"] = identity.traffic_token(sandbox.id)
    return answer


def shape_listed(sandbox: Sandbox, disk_mb: int) -> dict[str, Any]:
    """One sandbox of a list; `disk_mb` is what it can write at most, 0 when nothing keeps it from more."""
    answer: dict[str, Any] = {
        "templateID": sandbox.spec.template_id,
        "sandboxID": sandbox.id,
        "clientID": CLIENT_ID,
        "startedAt": shape_time(sandbox.started_at),
        "endAt": shape_time(sandbox.end_at),
        "envdVersion": ENVD_VERSION,
        "cpuCount": sandbox.spec.cpu_count,
        "memoryMB": sandbox.spec.memory_mb,
        "diskSizeMB": disk_mb,
        "state": public_state(sandbox),
        "metadata": dict(sandbox.spec.metadata),
        "volumeMounts": [],
    }
    if sandbox.spec.alias is not None:
        answer["alias"] = sandbox.spec.alias
    return answer


def shape_detail(sandbox: Sandbox, identity: Identity, disk_mb: int) -> dict[str, Any]:
    """One sandbox with everything that is known of it."""
    lifecycle = sandbox.spec.lifecycle
    answer = {
        **shape_listed(sandbox, disk_mb),
        "domain": None,
        "lifecycle": {
            "autoResume": lifecycle.auto_resume,
            "onTimeout": "pause" if lifecycle.auto_pause else "kill",
        },
    }
    if sandbox.spec.secure:
        answer["envdAccessToken"] = identity.envd_token(sandbox.id)
    if answer["state"] == "paused":
        answer["pauseMode"] = "filesystem" if sandbox.filesystem_only else "full"
    return answer | shape_network(sandbox)
