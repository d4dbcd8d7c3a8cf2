"""What the build of a template gives and takes: plain data, without I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Literal, TypedDict

LogEntryLevel = Literal["debug", "info", "warn", "error"]
"""How much a line of a build's log matters."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


@dataclass
class LogEntry:
    """One line of a build's log, without the terminal's colours."""

    timestamp: datetime
    level: LogEntryLevel
    message: str

    def __post_init__(self) -> None:
        self.message = _ESCAPES.sub("", self.message)

    def __str__(self) -> str:
        return f"[{self.timestamp.isoformat()}] [{self.level}] {self.message}"


@dataclass
class LogEntryStart(LogEntry):
    """The first entry of every build."""

    level: LogEntryLevel = field(default="debug", init=False)


@dataclass
class LogEntryEnd(LogEntry):
    """The last entry of every build, also of one that fails."""

    level: LogEntryLevel = field(default="debug", init=False)


class TemplateBuildStatus(str, Enum):  # noqa: UP042 - prints as the official SDK's does
    """How far a build is."""

    BUILDING = "building"
    WAITING = "waiting"
    READY = "ready"
    ERROR = "error"


@dataclass
class BuildStatusReason:
    """Why a build failed."""

    message: str

    step: str | None = None
    """Number of the step, counted from 1; `base` for what comes before the first, `finalize` for what comes after
    the last."""

    log_entries: list[LogEntry] = field(default_factory=list)
    """Warnings and errors of that step."""


@dataclass
class TemplateBuildStatusResponse:
    """How far a build is, with a page of its log."""

    build_id: str
    template_id: str
    status: TemplateBuildStatus

    log_entries: list[LogEntry]
    """From the offset asked for, at most 100."""

    logs: list[str]
    """Always empty, as in the official SDK; the log is in `log_entries`."""

    reason: BuildStatusReason | None = None


@dataclass
class TemplateTagInfo:
    """Tags that were given to a build."""

    build_id: str
    tags: list[str]


@dataclass
class TemplateTag:
    """A tag of a template."""

    tag: str
    build_id: str

    created_at: datetime
    """When the tag was given to this build."""


class _CopyFrom(TypedDict):
    src: str | Path | list[str | Path]
    dest: str | Path


class CopyItem(_CopyFrom, total=False):
    """One call of `copy`, as an item of `copy_items`: `src` and `dest`, and what else it takes."""

    forceUpload: Literal[True] | None
    user: str | None
    mode: int | None
    resolveSymlinks: bool | None
    gzip: bool | None


@dataclass
class BuildInfo:
    """Which build of which template this is."""

    template_id: str
    build_id: str
    name: str

    alias: str
    """The same as `name`, which replaces it."""

    tags: list[str] = field(default_factory=list)
