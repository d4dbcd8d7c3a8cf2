"""What the server reasons about: sandboxes, templates, states. Plain immutable data, no I/O."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

ID_ALPHABET = string.ascii_lowercase + string.digits
ID_LENGTH = 20
DEFAULT_TAG = "default"
DEFAULT_USER = "user"
DEFAULT_TEAM = "sandlot"
"""The team that the developer key is of."""


class SandboxState(StrEnum):
    """Where a sandbox is in its life; all but RUNNING and PAUSED last only as long as one operation."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    SNAPSHOTTING = "snapshotting"
    KILLING = "killing"

    @property
    def is_settled(self) -> bool:
        """Whether no operation is under way."""
        return self in (SandboxState.RUNNING, SandboxState.PAUSED)


@dataclass(frozen=True, slots=True)
class Context:
    """As whom, where and with what a program runs when its starter does not say."""

    user: str = DEFAULT_USER
    workdir: str | None = None
    """None means the user's home."""
    env: Mapping[str, str] = field(default_factory=dict)
    """On top of what the image declares."""


@dataclass(frozen=True, slots=True)
class Start:
    """What runs in a sandbox before anybody has asked for anything, and how to tell that it is ready."""

    command: str
    """For bash; empty when there is only something to wait for."""
    ready: str
    """A command that succeeds once all is ready; empty when nothing needs waiting for."""
    context: Context = Context()


@dataclass(frozen=True, slots=True)
class Template:
    """What a sandbox is made from: the build that a template has under one tag, with the names it is known by."""

    id: str
    build_id: str
    names: tuple[str, ...]
    image: str
    cpu_count: int
    memory_mb: int
    created_at: datetime
    tag: str = DEFAULT_TAG
    source_sandbox: str | None = None
    """The sandbox that this is a snapshot of."""
    context: Context = Context()
    start: Start | None = None
    public: bool = False
    team: str = DEFAULT_TEAM

    @property
    def alias(self) -> str | None:
        """The name that sandboxes show, without its namespace."""
        return self.names[0].rpartition("/")[2] if self.names else None


@dataclass(frozen=True, slots=True)
class Uses:
    """How often sandboxes were made from a template, and when the last one was."""

    count: int = 0
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What happens at the end of the timeout, and on traffic to a paused sandbox."""

    auto_pause: bool = False
    auto_pause_memory: bool = True
    auto_resume: bool = False


@dataclass(frozen=True, slots=True)
class Ingress:
    """Who may reach a sandbox's ports through the front door, and how the request looks inside."""

    allow_public_traffic: bool = True
    mask_request_host: str | None = None
    https_ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Egress:
    """What a sandbox may reach, in the words of the request; `border.policy` says what they mean."""

    allow_out: tuple[str, ...] = ()
    deny_out: tuple[str, ...] = ()
    dns_servers: tuple[str, ...] = ()
    internet: bool | None = None
    """False denies all that is not allowed."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The key of a create request that may be repeated, and a digest of what it asks for."""

    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """A request for a sandbox, checked for form but not yet for what it names."""

    template: str
    timeout_s: int
    secure: bool
    metadata: Mapping[str, str] = field(default_factory=dict)
    env_vars: Mapping[str, str] = field(default_factory=dict)
    lifecycle: Lifecycle = Lifecycle()
    ingress: Ingress | None = None
    egress: Egress | None = None
    mcp_servers: tuple[str, ...] = ()
    idempotency: Idempotency | None = None
    team: str = DEFAULT_TEAM


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What was asked for when the sandbox was created; it holds for the sandbox's whole life."""

    template_id: str
    build_id: str
    alias: str | None
    cpu_count: int
    memory_mb: int
    timeout_s: int
    secure: bool = True
    metadata: Mapping[str, str] = field(default_factory=dict)
    env_vars: Mapping[str, str] = field(default_factory=dict)
    lifecycle: Lifecycle = Lifecycle()
    ingress: Ingress | None = None
    egress: Egress | None = None
    mcp_servers: tuple[str, ...] = ()
    """Names of the MCP servers that the creator starts in the sandbox; recorded, since the SDK does the starting."""
    idempotency: Idempotency | None = None
    context: Context = Context()
    start: Start | None = None
    team: str = DEFAULT_TEAM


@dataclass(frozen=True, slots=True)
class Team:
    """Whom sandboxes and templates belong to; the name is the namespace of its templates as well."""

    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of a team. Its value is known to whoever it was given to, and to nobody here."""

    id: str
    team: str
    name: str
    digest: str
    masked: tuple[str, str]
    """How the value begins and ends."""
    created_at: datetime
    last_used: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Something that happened to a sandbox, or that its agent said."""

    at: datetime
    sandbox_id: str
    level: str
    message: str
    event: str | None = None
    """Kind of lifecycle event; None for the agent's own lines."""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a sandbox used at one moment; sizes in bytes, CPU in percent of all its CPUs."""

    at: datetime
    sandbox_id: str
    cpu_count: int
    cpu_used_pct: float
    mem_used: int
    mem_total: int
    mem_cache: int
    disk_used: int
    disk_total: int


@dataclass(frozen=True, slots=True)
class Activity:
    """How busy a team was in the moments up to `at`."""

    at: datetime
    concurrent: int
    """Sandboxes that ran at once."""
    started: int
    """Sandboxes that were created since the record before."""
    team: str = DEFAULT_TEAM


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One sandbox as it is now."""

    id: str
    container: str
    state: SandboxState
    started_at: datetime
    """When it was created or last resumed: from here the longest time of a run counts."""
    end_at: datetime
    spec: SandboxSpec
    boot_id: str
    filesystem_only: bool = False
    """Paused without memory: resuming boots it afresh."""
    stopped: bool = False
    """Nobody paused it: its container was stopped while it ran, so it still ends in its time."""


def new_sandbox_id() -> str:
    """Return an id that no other sandbox has: `i` and 20 characters of [a-z0-9]."""
    return "i" + new_template_id()


def new_template_id() -> str:
    """Return an id that no other template has: 20 characters of [a-z0-9]."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def seconds(value: float) -> timedelta:
    """A duration of `value` seconds."""
    return timedelta(seconds=value)
