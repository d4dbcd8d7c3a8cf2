"""What the client gives and takes: plain data, without I/O."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import IO, TYPE_CHECKING, Any, Generic, Literal, TypedDict

from .exceptions import SandboxException

if TYPE_CHECKING:
    from .network import SandboxNetworkInfo

Stdout = str
"""Text a command wrote to its standard output."""

Stderr = str
"""Text a command wrote to its standard error."""

PtyOutput = bytes
"""Bytes a terminal session wrote."""

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # with a default, which Python's own has from 3.13 on

    OutputT = TypeVar("OutputT", bound=str | None, default=str)
else:
    from typing import TypeVar

    OutputT = TypeVar("OutputT", bound=str | None)
"""Of the collected output: `None` for a command started with `retain_output=False`, else `str`."""

# --- commands


@dataclass
class PtySize:
    """Size of a terminal, in characters."""

    rows: int
    cols: int


@dataclass
class CommandResult(Generic[OutputT]):
    """How a command ended. `stdout` and `stderr` are None when they were not retained."""

    stderr: OutputT
    stdout: OutputT
    exit_code: int
    error: str | None
    """In words, when it failed: `exit status 2`, `signal: killed`."""


@dataclass(eq=False)
class CommandExitException(SandboxException, CommandResult[OutputT]):
    """A command ended with a non-zero exit code."""

    __eq__, __hash__ = Exception.__eq__, Exception.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.stderr, self.stdout, self.exit_code, self.error)

    def __str__(self) -> str:
        if self.stderr is None:
            return f"Command exited with code {self.exit_code}"
        return f"Command exited with code {self.exit_code} and error:\n{self.stderr}"


@dataclass
class ProcessInfo:
    """A running command, terminal session or start command of the template."""

    pid: int
    tag: str | None
    cmd: str
    args: list[str]
    envs: dict[str, str]
    cwd: str | None


# --- files


class FileType(Enum):
    """Kind of a file system entry."""

    FILE = "file"
    DIR = "dir"
    SYMLINK = "symlink"


@dataclass
class WriteInfo:
    """A file that was written."""

    name: str
    type: FileType | None
    path: str
    metadata: dict[str, str] | None = field(default=None, kw_only=True)
    """The file's own metadata (extended attributes `user.e2b.*`), None when it has none."""


@dataclass
class EntryInfo(WriteInfo):
    """A file system entry."""

    size: int
    """In bytes."""
    mode: int
    """Permission bits."""
    permissions: str
    """As `ls -l` shows them: `-rw-r--r--`."""
    owner: str
    group: str
    modified_time: datetime
    symlink_target: str | None = None


WriteData = str | bytes | IO[str] | IO[bytes] | Iterable[bytes]
"""What `Sandbox.files.write` takes."""

AsyncWriteData = str | bytes | IO[str] | IO[bytes] | AsyncIterable[bytes]
"""What `AsyncSandbox.files.write` takes."""


class WriteEntry(TypedDict):
    """One file of `write_files`, for either kind of sandbox."""

    path: str
    data: str | bytes | IO[str] | IO[bytes]


class SyncWriteEntry(TypedDict):
    """One file of `Sandbox.files.write_files`."""

    path: str
    data: WriteData


class AsyncWriteEntry(TypedDict):
    """One file of `AsyncSandbox.files.write_files`."""

    path: str
    data: AsyncWriteData


class FilesystemEventType(Enum):
    """What happened to a watched entry."""

    CHMOD = "chmod"
    CREATE = "create"
    REMOVE = "remove"
    RENAME = "rename"
    WRITE = "write"


@dataclass
class FilesystemEvent:
    """Something that happened below a watched directory."""

    name: str
    """Path relative to the watched directory."""
    type: FilesystemEventType
    entry: EntryInfo | None = None
    """The entry, when asked for with `include_entry` and still there."""


# --- sandboxes


class SandboxState(StrEnum):
    """Whether a sandbox runs."""

    RUNNING = "running"
    PAUSED = "paused"


class SandboxInfoLifecycle(TypedDict):
    """What happens to the sandbox at its timeout."""

    on_timeout: Literal["pause", "kill"]
    auto_resume: bool


@dataclass
class SandboxInfo:
    """What the API tells about a sandbox."""

    sandbox_id: str
    sandbox_domain: str | None
    template_id: str
    name: str | None
    """Name of the template."""
    metadata: dict[str, str]
    started_at: datetime
    end_at: datetime
    state: SandboxState
    cpu_count: int
    memory_mb: int
    envd_version: str
    allow_internet_access: bool | None = None
    network: SandboxNetworkInfo | None = None
    lifecycle: SandboxInfoLifecycle | None = None
    volume_mounts: list[dict[str, str]] = field(default_factory=list)
    envd_unresponsive_at_pause: bool | None = None
    """True when only `connect(on_resume="reboot")` brings it back."""


SandboxListOrder = Literal["asc", "desc"]
"""By start time."""


@dataclass
class SandboxQuery:
    """Which sandboxes to list; all that is given must hold."""

    metadata: dict[str, str] | None = None
    state: list[SandboxState] | None = None
    started_after: datetime | None = None
    """At this time or later; without a time zone it is local time."""
    template: str | None = None
    """ID or name."""


@dataclass
class SandboxMetrics:
    """Use of resources at one moment; sizes are in bytes."""

    cpu_count: int
    cpu_used_pct: float
    disk_total: int
    disk_used: int
    mem_total: int
    mem_used: int
    mem_cache: int
    timestamp: datetime


@dataclass
class SnapshotInfo:
    """A snapshot; `Sandbox.create(snapshot_id)` makes a sandbox from it."""

    snapshot_id: str
    names: list[str] = field(default_factory=list)
