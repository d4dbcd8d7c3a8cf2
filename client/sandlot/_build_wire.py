"""The API's JSON about templates as models. A missing or odd field raises KeyError, TypeError or ValueError."""

from __future__ import annotations

from typing import NamedTuple

from ._frames import Message
from ._wire import parse_list, parse_time
from .template_models import (
    BuildInfo,
    BuildStatusReason,
    LogEntry,
    TemplateBuildStatus,
    TemplateBuildStatusResponse,
    TemplateTag,
    TemplateTagInfo,
)


class UploadLink(NamedTuple):
    """Where the files of a step go, and whether they are there already."""

    present: bool
    url: str | None
    headers: dict[str, str]


def parse_build(wire: Message, name: str) -> BuildInfo:
    """Read the answer to a request for a build."""
    return BuildInfo(wire["templateID"], wire["buildID"], name, name, list(wire["tags"]))


def parse_link(wire: Message) -> UploadLink:
    """Read where files go. How many bytes they are is not for the server to say."""
    headers = {key: value for key, value in (wire.get("headers") or {}).items() if key.lower() != "content-length"}
    return UploadLink(bool(wire["present"]), wire.get("url"), headers)


def parse_status(wire: Message) -> TemplateBuildStatusResponse:
    """Read the API's `TemplateBuildInfo`."""
    return TemplateBuildStatusResponse(
        build_id=wire["buildID"],
        template_id=wire["templateID"],
        status=TemplateBuildStatus(wire["status"]),
        log_entries=_parse_entries(wire["logEntries"]),
        logs=list(wire.get("logs") or []),
        reason=_parse_reason(wire.get("reason")),
    )


def _parse_reason(wire: Message | None) -> BuildStatusReason | None:
    if wire is None:
        return None
    return BuildStatusReason(wire["message"], wire.get("step"), _parse_entries(wire.get("logEntries")))


def _parse_entry(wire: Message) -> LogEntry:
    return LogEntry(parse_time(wire["timestamp"]), wire["level"], wire["message"])


_parse_entries = parse_list(_parse_entry)


def parse_tag(wire: Message) -> TemplateTag:
    """Read one of a template's tags."""
    return TemplateTag(wire["tag"], wire["buildID"], parse_time(wire["createdAt"]))


def parse_tag_info(wire: Message) -> TemplateTagInfo:
    """Read the answer to new tags."""
    return TemplateTagInfo(wire["buildID"], list(wire["tags"]))
