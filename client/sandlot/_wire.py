"""The API's and the agent's JSON as models. A missing or odd field raises KeyError, TypeError or ValueError."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from ._frames import Message
from .models import (
    EntryInfo,
    FilesystemEvent,
    FilesystemEventType,
    FileType,
    ProcessInfo,
    SandboxInfo,
    SandboxMetrics,
    SandboxState,
    SnapshotInfo,
    WriteInfo,
)
from .network import parse_network

_FILE_TYPES = {
    "FILE_TYPE_FILE": FileType.FILE,
    "FILE_TYPE_DIRECTORY": FileType.DIR,
    "FILE_TYPE_SYMLINK": FileType.SYMLINK,
}
_EVENT_TYPES = {f"EVENT_TYPE_{kind.name}": kind for kind in FilesystemEventType}
_EPOCH = "1970-01-01T00:00:00Z"


class CreatedSandbox(NamedTuple):
    """What the API answers when a sandbox was made, connected or forked."""

    sandbox_id: str
    domain: str | None
    envd_version: str
    envd_access_token: str | None
    traffic_access_token: str | None


def parse_created(wire: Message) -> CreatedSandbox:
    """Read the API's `Sandbox`."""
    return CreatedSandbox(
        str(wire["sandboxID"]),
        wire.get("domain"),
        str(wire["envdVersion"]),
        wire.get("envdAccessToken"),
        wire.get("trafficAccessToken"),
    )


def parse_time(text: str) -> datetime:
    """Read RFC 3339; digits beyond microseconds are dropped."""
    return datetime.fromisoformat(text)


def parse_list(parse: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    """Return a parser for a JSON list of what `parse` reads."""
    return lambda wire: [parse(each) for each in wire or []]


def parse_info(wire: Message) -> SandboxInfo:
    """Read the API's `SandboxDetail` or `ListedSandbox`."""
    lifecycle = wire.get("lifecycle")
    return SandboxInfo(
        sandbox_id=wire["sandboxID"],
        sandbox_domain=wire.get("domain"),
        template_id=wire["templateID"],
        name=wire.get("alias"),
        metadata=dict(wire.get("metadata") or {}),
        started_at=parse_time(wire["startedAt"]),
        end_at=parse_time(wire["endAt"]),
        state=SandboxState(wire["state"]),
        cpu_count=wire["cpuCount"],
        memory_mb=wire["memoryMB"],
        envd_version=wire["envdVersion"],
        allow_internet_access=wire.get("allowInternetAccess"),
        network=parse_network(wire.get("network")),
        lifecycle=lifecycle and {"on_timeout": lifecycle["onTimeout"], "auto_resume": lifecycle["autoResume"]},
        volume_mounts=[{"name": each["name"], "path": each["path"]} for each in wire.get("volumeMounts") or []],
        envd_unresponsive_at_pause=wire.get("envdUnresponsiveAtPause") or None,
    )


def parse_metrics(wire: Message) -> SandboxMetrics:
    """Read the API's `SandboxMetric`."""
    return SandboxMetrics(
        cpu_count=wire["cpuCount"],
        cpu_used_pct=wire["cpuUsedPct"],
        disk_total=wire["diskTotal"],
        disk_used=wire["diskUsed"],
        mem_total=wire["memTotal"],
        mem_used=wire["memUsed"],
        mem_cache=wire.get("memCache", 0),
        timestamp=parse_time(wire["timestamp"]),
    )


def parse_snapshot(wire: Message) -> SnapshotInfo:
    """Read the API's `SnapshotInfo`."""
    return SnapshotInfo(wire["snapshotID"], list(wire.get("names") or []))


def parse_written(wire: Any) -> list[WriteInfo]:
    """Read the agent's answer to an upload: at least one file."""
    files = [
        WriteInfo(
            name=each["name"],
            type=FileType(each["type"]) if each.get("type") in ("file", "dir") else None,
            path=each["path"],
            metadata=each.get("metadata") or None,
        )
        for each in wire
    ]
    if not files:
        raise ValueError("no file is named")
    return files


def parse_entry(wire: Message) -> EntryInfo:
    """Read the agent's `EntryInfo`; zero values may be left out of it."""
    return EntryInfo(
        name=wire.get("name", ""),
        type=FileType.SYMLINK if wire.get("isSymlink") else _FILE_TYPES.get(wire.get("type", "")),
        path=wire.get("path", ""),
        size=int(wire.get("size", 0)),
        mode=wire.get("mode", 0),
        permissions=wire.get("permissions", ""),
        owner=wire.get("owner", ""),
        group=wire.get("group", ""),
        modified_time=parse_time(wire.get("modifiedTime") or _EPOCH),
        symlink_target=wire.get("symlinkTarget"),
        metadata=wire.get("metadata") or None,
    )


def parse_entry_answer(wire: Message) -> EntryInfo:
    """Read an answer that is about one entry."""
    return parse_entry(wire.get("entry") or {})


def parse_entries(wire: Message) -> list[EntryInfo]:
    """Read a directory listing, without entries of an unknown kind such as broken links."""
    return [parse_entry(each) for each in wire.get("entries") or [] if each.get("type") in _FILE_TYPES]


def parse_event(wire: Message) -> FilesystemEvent | None:
    """Read the agent's `FilesystemEvent`; None for a kind that is not known here."""
    kind = _EVENT_TYPES.get(wire.get("type", ""))
    entry = wire.get("entry")
    return kind and FilesystemEvent(wire.get("name", ""), kind, parse_entry(entry) if entry else None)


def parse_events(wire: Message) -> list[FilesystemEvent]:
    """Read the events collected by a watcher."""
    return [event for each in wire.get("events") or [] if (event := parse_event(each)) is not None]


def parse_processes(wire: Message) -> list[ProcessInfo]:
    """Read the agent's list of processes."""
    return [_parse_process(each, each.get("config") or {}) for each in wire.get("processes") or []]


def _parse_process(wire: Message, config: Message) -> ProcessInfo:
    return ProcessInfo(
        pid=wire["pid"],
        tag=wire.get("tag"),
        cmd=config.get("cmd", ""),
        args=list(config.get("args") or []),
        envs=dict(config.get("envs") or {}),
        cwd=config.get("cwd"),
    )
