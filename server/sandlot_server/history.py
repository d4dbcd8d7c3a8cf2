"""Logs of sandboxes: the journal's events and the lines of the agent, in one order."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sandlot_server.errors import SandboxNotFound, SandlotError
from sandlot_server.journal import Journal
from sandlot_server.models import LogEntry, now
from sandlot_server.registry import Registry
from sandlot_server.runtime.base import Runtime
from sandlot_server.store.base import Store

log = logging.getLogger(__name__)

LEVELS = ("debug", "info", "warn", "error")
MAX_ENTRIES = 1000
KEPT_LINES = 500
"""Lines of an agent that outlive its container."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which entries to return."""

    start: datetime | None = None
    end: datetime | None = None
    limit: int = MAX_ENTRIES
    newest_first: bool = False
    level: str | None = None
    search: str | None = None


class History:
    """Reads the logs of sandboxes, those that are gone included."""

    def __init__(self, *, store: Store, runtime: Runtime, registry: Registry, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._runtime = runtime
        self._registry = registry

    async def load(self, sandbox_id: str, query: LogQuery) -> list[LogEntry]:
        """Return entries in the order of the query; raises SandboxNotFound when the sandbox never was."""
        await self._journal.flush()
        entries = await self._store.load_entries(sandbox_id)
        entry = self._registry.get(sandbox_id)
        if entry is None and not entries:
            raise SandboxNotFound(sandbox_id)
        if entry is not None:
            entries += await self._read_agent(sandbox_id, entry.sandbox.container)
        found = sorted((one for one in entries if _matches(one, query)), key=lambda one: one.at)
        return found[::-1][: query.limit] if query.newest_first else found[: query.limit]

    async def keep(self, sandbox_id: str, container: str) -> None:
        """Save what the agent said, since its container is about to be removed."""
        lines = await self._read_agent(sandbox_id, container)
        if lines:
            await self._store.append_entries(lines[-KEPT_LINES:])

    async def _read_agent(self, sandbox_id: str, container: str) -> list[LogEntry]:
        try:
            return parse_lines(sandbox_id, (await self._runtime.read_log(container)).splitlines())
        except SandlotError as error:
            log.debug("the log of container %s cannot be read: %s", container, error)
            return []


def _matches(entry: LogEntry, query: LogQuery) -> bool:
    return (
        (query.start is None or entry.at >= query.start)
        and (query.end is None or entry.at <= query.end)
        and (query.level is None or LEVELS.index(entry.level) >= LEVELS.index(query.level))
        and (query.search is None or query.search in entry.message)
    )


def parse_lines(sandbox_id: str, lines: Iterable[str]) -> list[LogEntry]:
    """Turn an agent's output into entries; a line that is not JSON belongs to the moment of the one before."""
    entries: list[LogEntry] = []
    for line in lines:
        entry = _parse_line(sandbox_id, line)
        if entry is None:
            entry = LogEntry(entries[-1].at if entries else now(), sandbox_id, "info", line)
        entries.append(entry)
    return entries


def _parse_line(sandbox_id: str, line: str) -> LogEntry | None:
    try:
        values = json.loads(line)
        at = datetime.fromisoformat(values.pop("timestamp"))
        level, message = values.pop("level"), values.pop("message")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    level = level if level in LEVELS else "info"
    return LogEntry(at, sandbox_id, level, str(message), None, {name: str(value) for name, value in values.items()})
