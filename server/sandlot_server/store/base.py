"""What the services need remembered. Rules live in the services; a store only keeps rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from sandlot_server.build_models import Build, BuildLog, Layer
from sandlot_server.models import Activity, ApiKey, LogEntry, Sample, Sandbox, Team, Template, Uses

Peak = Literal["concurrent", "started"]
"""What of an activity can be at its highest."""


class Store(Protocol):
    """Rows that outlive the server. Once a call has returned, a crash of the server does not undo it."""

    async def open(self) -> None:
        """Make the store ready; raises StoreError when it was written by a newer server or is damaged."""

    async def close(self) -> None:
        """Finish what was begun and let go of the files."""

    async def load_sandboxes(self) -> list[Sandbox]:
        """Return all sandboxes, those in the middle of an operation included."""

    async def save_sandbox(self, sandbox: Sandbox) -> None:
        """Insert the sandbox, or replace what is known of it."""

    async def delete_sandbox(self, sandbox_id: str) -> None:
        """Forget the sandbox; nothing happens when it is unknown."""

    async def find_owner(self, sandbox_id: str) -> str | None:
        """Return the team of a sandbox, alive or not; None when nothing is known of it any more."""

    async def load_teams(self) -> list[Team]:
        """Return all teams, oldest first."""

    async def save_team(self, team: Team) -> None:
        """Insert the team, or replace what is known of it."""

    async def load_keys(self) -> list[ApiKey]:
        """Return all keys, oldest first."""

    async def save_key(self, key: ApiKey) -> None:
        """Insert the key, or replace its name and its last use."""

    async def delete_key(self, key_id: str) -> None:
        """Forget the key; nothing happens when it is unknown."""

    async def append_entries(self, entries: Sequence[LogEntry]) -> None:
        """Remember what happened."""

    async def load_entries(self, sandbox_id: str) -> list[LogEntry]:
        """Return what happened to a sandbox, alive or not, oldest first."""

    async def append_samples(self, samples: Sequence[Sample]) -> None:
        """Remember what sandboxes used."""

    async def load_samples(self, sandbox_id: str, start: datetime, end: datetime) -> list[Sample]:
        """Return what a sandbox used from `start` to `end`, both included, oldest first."""

    async def append_activity(self, activity: Activity) -> None:
        """Remember how busy a team was."""

    async def load_activity(self, team: str, start: datetime, end: datetime, step_s: int) -> list[Activity]:
        """Return the activity of a team from `start` to `end`, oldest first.

        All of `step_s` seconds make one, at their beginning: the most at once, and what was started together.
        """

    async def find_peak(self, of: Peak, team: str, start: datetime, end: datetime) -> Activity | None:
        """Return the team's activity with the highest value of `of` between two moments, the earliest of several."""

    async def prune(self, *, keep_entries: int, samples_before: datetime, activity_before: datetime) -> None:
        """Forget all but the last entries, and the samples and the activity from before a moment."""

    async def load_templates(self) -> list[Template]:
        """Return all templates, once for each tag, the longest known first."""

    async def save_template(self, template: Template) -> None:
        """Insert the template with its names, or make this build the one of the template's tag."""

    async def delete_template(self, template_id: str) -> None:
        """Forget the template with all its tags; nothing happens when it is unknown."""

    async def delete_tag(self, template_id: str, tag: str) -> None:
        """Take a tag from a template; nothing happens when it has none of this name."""

    async def load_uses(self) -> dict[str, Uses]:
        """Return how much templates were used, by id; those never used may be left out."""

    async def save_uses(self, uses: Mapping[str, Uses]) -> None:
        """Replace how much these templates were used."""

    async def load_builds(self) -> list[Build]:
        """Return all builds of templates, oldest first."""

    async def save_build(self, build: Build) -> None:
        """Insert the build, or replace what is known of it."""

    async def delete_builds(self, template_id: str) -> None:
        """Forget the builds of a template, and their logs."""

    async def append_build_logs(self, build_id: str, lines: Sequence[BuildLog]) -> None:
        """Remember what a build has said."""

    async def load_build_logs(self, build_id: str) -> list[BuildLog]:
        """Return what a build has said, oldest first."""

    async def load_layers(self) -> list[Layer]:
        """Return what build steps have made, the longest unused first."""

    async def save_layer(self, layer: Layer) -> None:
        """Insert the layer, or replace what is known of it."""

    async def delete_layer(self, key: str) -> None:
        """Forget the layer; nothing happens when it is unknown."""
