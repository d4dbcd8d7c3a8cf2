"""What the server reasons about when it builds templates. Plain immutable data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sandlot_server.models import DEFAULT_TEAM, Context


class BuildStatus(StrEnum):
    """How far a build is."""

    WAITING = "waiting"
    BUILDING = "building"
    READY = "ready"
    ERROR = "error"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self in (BuildStatus.READY, BuildStatus.ERROR)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a registry wants before it hands out an image."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its kind in capitals, its arguments, and for files the name of their archive."""

    kind: str
    args: tuple[str, ...]
    files_hash: str | None = None
    force: bool = False

    @property
    def text(self) -> str:
        """The step as logs show it."""
        return f"{self.kind} {' '.join(self.args)}".rstrip()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build is to do."""

    from_image: str | None = None
    from_template: str | None = None
    credentials: Credentials | None = None
    force: bool = False
    steps: tuple[Step, ...] = ()
    start_command: str = ""
    ready_command: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a build failed, and at which step: `base`, `finalize`, or a number from 1."""

    message: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """One build of a template, from its request on."""

    id: str
    template_id: str
    name: str
    tags: tuple[str, ...]
    cpu_count: int
    memory_mb: int
    status: BuildStatus
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    reason: Reason | None = None
    team: str = DEFAULT_TEAM


@dataclass(frozen=True, slots=True)
class BuildLog:
    """One line of a build's log."""

    at: datetime
    level: str
    message: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """What a step made, under the hash of all that led to it."""

    key: str
    image: str
    """The image with all files so far; a step that changes no file has the one of the step before."""
    context: Context
    template_id: str
    """The template whose build used it last."""
    used_at: datetime
