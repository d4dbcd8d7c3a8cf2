"""A store that forgets with the process: for tests, and for trying the server without a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sandlot_server.build_models import Build, BuildLog, Layer
from sandlot_server.models import Activity, ApiKey, LogEntry, Sample, Sandbox, Team, Template, Uses
from sandlot_server.store.base import Peak
from sandlot_server.store.rows import decode_time, encode_time


class MemoryStore:
    """Keeps rows in dictionaries."""

    def __init__(self) -> None:
        self._sandboxes: dict[str, Sandbox] = {}
        self._templates: dict[tuple[str, str], Template] = {}
        self._uses: dict[str, Uses] = {}
        self._builds: dict[str, Build] = {}
        self._build_logs: dict[str, list[BuildLog]] = {}
        self._layers: dict[str, Layer] = {}
        self._owners: dict[str, str] = {}
        self._teams: dict[str, Team] = {}
        self._keys: dict[str, ApiKey] = {}
        self._entries: list[LogEntry] = []
        self._samples: list[Sample] = []
        self._activity: list[Activity] = []

    async def open(self) -> None:
        """Nothing to open; the rows stay through any number of open and close."""

    async def close(self) -> None:
        """Nothing to close."""

    async def load_sandboxes(self) -> list[Sandbox]:
        """Return all sandboxes."""
        return list(self._sandboxes.values())

    async def save_sandbox(self, sandbox: Sandbox) -> None:
        """Insert or replace."""
        self._sandboxes[sandbox.id] = sandbox
        self._owners[sandbox.id] = sandbox.spec.team

    async def delete_sandbox(self, sandbox_id: str) -> None:
        """Forget."""
        self._sandboxes.pop(sandbox_id, None)

    async def find_owner(self, sandbox_id: str) -> str | None:
        """Return whose the sandbox is."""
        return self._owners.get(sandbox_id)

    async def load_teams(self) -> list[Team]:
        """Return all teams."""
        return sorted(self._teams.values(), key=lambda one: (one.created_at, one.name))

    async def save_team(self, team: Team) -> None:
        """Insert or replace."""
        self._teams[team.name] = team

    async def load_keys(self) -> list[ApiKey]:
        """Return all keys."""
        return sorted(self._keys.values(), key=lambda one: (one.created_at, one.id))

    async def save_key(self, key: ApiKey) -> None:
        """Insert or replace."""
        self._keys[key.id] = key

    async def delete_key(self, key_id: str) -> None:
        """Forget."""
        self._keys.pop(key_id, None)

    async def append_entries(self, entries: Sequence[LogEntry]) -> None:
        """Append."""
        self._entries.extend(entries)

    async def load_entries(self, sandbox_id: str) -> list[LogEntry]:
        """Return the entries of one sandbox."""
        return sorted((one for one in self._entries if one.sandbox_id == sandbox_id), key=lambda one: one.at)

    async def append_samples(self, samples: Sequence[Sample]) -> None:
        """Append."""
        self._samples.extend(samples)

    async def load_samples(self, sandbox_id: str, start: datetime, end: datetime) -> list[Sample]:
        """Return the samples of one sandbox."""
        found = (one for one in self._samples if one.sandbox_id == sandbox_id and start <= one.at <= end)
        return sorted(found, key=lambda one: one.at)

    async def append_activity(self, activity: Activity) -> None:
        """Append."""
        self._activity.append(activity)

    async def load_activity(self, team: str, start: datetime, end: datetime, step_s: int) -> list[Activity]:
        """Return the activity in steps."""
        steps: dict[datetime, list[Activity]] = {}
        for one in self._list_activity(team, start, end):
            at = encode_time(one.at)
            steps.setdefault(decode_time(at - at % (step_s * 10**6)), []).append(one)
        return [
            Activity(at, max(one.concurrent for one in step), sum(one.started for one in step), team)
            for at, step in sorted(steps.items())
        ]

    async def find_peak(self, of: Peak, team: str, start: datetime, end: datetime) -> Activity | None:
        """Return the highest."""
        found = self._list_activity(team, start, end)
        return max(found, key=lambda one: one.concurrent if of == "concurrent" else one.started, default=None)

    def _list_activity(self, team: str, start: datetime, end: datetime) -> list[Activity]:
        found = (one for one in self._activity if one.team == team and start <= one.at <= end)
        return sorted(found, key=lambda one: one.at)

    async def prune(self, *, keep_entries: int, samples_before: datetime, activity_before: datetime) -> None:
        """Forget."""
        del self._entries[: max(0, len(self._entries) - keep_entries)]
        self._samples = [one for one in self._samples if one.at >= samples_before]
        self._activity = [one for one in self._activity if one.at >= activity_before]
        heard = {one.sandbox_id for one in self._entries}
        known = heard.union(self._sandboxes, (one.sandbox_id for one in self._samples))
        self._owners = {sandbox_id: team for sandbox_id, team in self._owners.items() if sandbox_id in known}

    async def load_templates(self) -> list[Template]:
        """Return all templates, once for each tag."""
        return sorted(self._templates.values(), key=lambda one: one.created_at)

    async def save_template(self, template: Template) -> None:
        """Insert or replace; its names now mean this template."""
        for key, other in list(self._templates.items()):
            kept = tuple(name for name in other.names if name not in template.names)
            self._templates[key] = replace(other, names=template.names if other.id == template.id else kept)
        self._templates[template.id, template.tag] = template

    async def delete_template(self, template_id: str) -> None:
        """Forget."""
        self._templates = {key: other for key, other in self._templates.items() if other.id != template_id}

    async def delete_tag(self, template_id: str, tag: str) -> None:
        """Forget."""
        self._templates.pop((template_id, tag), None)

    async def load_uses(self) -> dict[str, Uses]:
        """Return how much templates were used."""
        return dict(self._uses)

    async def save_uses(self, uses: Mapping[str, Uses]) -> None:
        """Replace."""
        self._uses.update(uses)

    async def load_builds(self) -> list[Build]:
        """Return all builds of templates."""
        return sorted(self._builds.values(), key=lambda one: (one.created_at, one.id))

    async def save_build(self, build: Build) -> None:
        """Insert or replace."""
        self._builds[build.id] = build

    async def delete_builds(self, template_id: str) -> None:
        """Forget."""
        for build_id in [one.id for one in self._builds.values() if one.template_id == template_id]:
            del self._builds[build_id]
            self._build_logs.pop(build_id, None)

    async def append_build_logs(self, build_id: str, lines: Sequence[BuildLog]) -> None:
        """Append."""
        self._build_logs.setdefault(build_id, []).extend(lines)

    async def load_build_logs(self, build_id: str) -> list[BuildLog]:
        """Return what a build has said."""
        return list(self._build_logs.get(build_id, []))

    async def load_layers(self) -> list[Layer]:
        """Return what build steps have made."""
        return sorted(self._layers.values(), key=lambda one: (one.used_at, one.key))

    async def save_layer(self, layer: Layer) -> None:
        """Insert or replace."""
        self._layers[layer.key] = layer

    async def delete_layer(self, key: str) -> None:
        """Forget."""
        self._layers.pop(key, None)
