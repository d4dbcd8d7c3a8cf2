"""The store in one SQLite file. All access goes through one thread, so that writes never wait for each other."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from sandlot_server.build_models import Build, BuildLog, Layer
from sandlot_server.errors import StoreError
from sandlot_server.models import Activity, ApiKey, LogEntry, Sample, Sandbox, Team, Template, Uses
from sandlot_server.store.base import Peak
from sandlot_server.store.build_rows import (
    decode_build,
    decode_layer,
    decode_log,
    encode_build,
    encode_layer,
    encode_log,
)
from sandlot_server.store.rows import (
    decode_activity,
    decode_entry,
    decode_key,
    decode_sample,
    decode_sandbox,
    decode_template,
    decode_time,
    encode_entry,
    encode_key,
    encode_sample,
    encode_sandbox,
    encode_template,
    encode_time,
)

T = TypeVar("T")


def load_queries() -> dict[str, str]:
    """Return the statements of `queries.sql` by the name in the comment above each."""
    text = (files("sandlot_server.store") / "queries.sql").read_text()
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def load_migrations() -> list[str]:
    """Return the migration scripts in the order in which they apply."""
    folder = files("sandlot_server.store") / "migrations"
    scripts = sorted((entry.name, entry.read_text()) for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [text for _, text in scripts]


class SqliteStore:
    """Rows in a SQLite file in WAL mode: a commit survives a crash of the server at any moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queries = load_queries()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file and bring its tables up to date."""
        await self._run(self._connect)

    async def close(self) -> None:
        """Close the file; the store can be opened again."""
        await self._run(self._disconnect)

    async def load_sandboxes(self) -> list[Sandbox]:
        """Return all sandboxes."""
        return [decode_sandbox(row) for row in await self._run(lambda: self._fetch("load_sandboxes"))]

    async def save_sandbox(self, sandbox: Sandbox) -> None:
        """Insert or replace."""
        await self._write("save_sandbox", encode_sandbox(sandbox))

    async def delete_sandbox(self, sandbox_id: str) -> None:
        """Forget."""
        await self._write("delete_sandbox", {"id": sandbox_id})

    async def find_owner(self, sandbox_id: str) -> str | None:
        """Return whose the sandbox is; a trigger notes it."""
        rows = await self._run(lambda: self._fetch("find_owner", {"sandbox_id": sandbox_id}))
        return rows[0]["team"] if rows else None

    async def load_teams(self) -> list[Team]:
        """Return all teams."""
        rows = await self._run(lambda: self._fetch("load_teams"))
        return [Team(row["name"], decode_time(row["created_at"])) for row in rows]

    async def save_team(self, team: Team) -> None:
        """Insert or replace."""
        await self._write("save_team", {"name": team.name, "created_at": encode_time(team.created_at)})

    async def load_keys(self) -> list[ApiKey]:
        """Return all keys."""
        return [decode_key(row) for row in await self._run(lambda: self._fetch("load_keys"))]

    async def save_key(self, key: ApiKey) -> None:
        """Insert or replace."""
        await self._write("save_key", encode_key(key))

    async def delete_key(self, key_id: str) -> None:
        """Forget."""
        await self._write("delete_key", {"id": key_id})

    async def append_entries(self, entries: Sequence[LogEntry]) -> None:
        """Append, in one transaction."""
        await self._write_many("append_entry", [encode_entry(entry) for entry in entries])

    async def load_entries(self, sandbox_id: str) -> list[LogEntry]:
        """Return the entries of one sandbox."""
        rows = await self._run(lambda: self._fetch("load_entries", {"sandbox_id": sandbox_id}))
        return [decode_entry(row) for row in rows]

    async def append_samples(self, samples: Sequence[Sample]) -> None:
        """Append, in one transaction."""
        await self._write_many("append_sample", [encode_sample(sample) for sample in samples])

    async def load_samples(self, sandbox_id: str, start: datetime, end: datetime) -> list[Sample]:
        """Return the samples of one sandbox."""
        values = {"sandbox_id": sandbox_id, "start": encode_time(start), "end": encode_time(end)}
        rows = await self._run(lambda: self._fetch("load_samples", values))
        return [decode_sample(row) for row in rows]

    async def append_activity(self, activity: Activity) -> None:
        """Append."""
        await self._write("append_activity", {**asdict(activity), "at": encode_time(activity.at)})

    async def load_activity(self, team: str, start: datetime, end: datetime, step_s: int) -> list[Activity]:
        """Return the activity in steps."""
        values = {"team": team, "start": encode_time(start), "end": encode_time(end), "step": step_s * 10**6}
        return [decode_activity(row) for row in await self._run(lambda: self._fetch("load_activity", values))]

    async def find_peak(self, of: Peak, team: str, start: datetime, end: datetime) -> Activity | None:
        """Return the highest."""
        values = {"team": team, "start": encode_time(start), "end": encode_time(end)}
        rows = await self._run(lambda: self._fetch(f"find_peak_{of}", values))
        return decode_activity(rows[0]) if rows else None

    async def prune(self, *, keep_entries: int, samples_before: datetime, activity_before: datetime) -> None:
        """Forget."""
        await self._write("prune_entries", {"keep": keep_entries})
        await self._write("prune_samples", {"before": encode_time(samples_before)})
        await self._write("prune_activity", {"before": encode_time(activity_before)})
        await self._write("prune_owners", {})

    async def load_templates(self) -> list[Template]:
        """Return all templates."""
        return await self._run(self._load_templates)

    async def save_template(self, template: Template) -> None:
        """Insert or replace; its names now mean this template."""
        await self._run(lambda: self._save_template(template))

    async def delete_template(self, template_id: str) -> None:
        """Forget; its builds, tags and names go along."""
        await self._write("delete_template", {"id": template_id})

    async def delete_tag(self, template_id: str, tag: str) -> None:
        """Forget; its build goes along unless another tag has it."""
        values = {"id": template_id, "tag": tag}

        def work() -> None:
            with self._transaction() as db:
                for query in ("delete_tag", "delete_stale_builds"):
                    db.execute(self._queries[query], values)

        await self._run(work)

    async def load_uses(self) -> dict[str, Uses]:
        """Return how much templates were used."""
        rows = await self._run(lambda: self._fetch("load_uses"))
        return {row["id"]: Uses(row["spawn_count"], decode_time(row["last_spawned_at"])) for row in rows}

    async def save_uses(self, uses: Mapping[str, Uses]) -> None:
        """Replace, in one transaction."""
        values = [
            {"id": key, "count": one.count, "last": encode_time(one.last) if one.last else None}
            for key, one in uses.items()
        ]
        await self._write_many("save_uses", values)

    async def load_builds(self) -> list[Build]:
        """Return all builds of templates."""
        return [decode_build(row) for row in await self._run(lambda: self._fetch("load_builds"))]

    async def save_build(self, build: Build) -> None:
        """Insert or replace."""
        await self._write("save_build_record", encode_build(build))

    async def delete_builds(self, template_id: str) -> None:
        """Forget; the logs go along."""
        await self._write("delete_builds_of", {"template_id": template_id})

    async def append_build_logs(self, build_id: str, lines: Sequence[BuildLog]) -> None:
        """Append, in one transaction."""
        await self._write_many("append_build_log", [encode_log(build_id, line) for line in lines])

    async def load_build_logs(self, build_id: str) -> list[BuildLog]:
        """Return what a build has said."""
        rows = await self._run(lambda: self._fetch("load_build_logs", {"build_id": build_id}))
        return [decode_log(row) for row in rows]

    async def load_layers(self) -> list[Layer]:
        """Return what build steps have made."""
        return [decode_layer(row) for row in await self._run(lambda: self._fetch("load_layers"))]

    async def save_layer(self, layer: Layer) -> None:
        """Insert or replace."""
        await self._write("save_layer", encode_layer(layer))

    async def delete_layer(self, key: str) -> None:
        """Forget."""
        await self._write("delete_layer", {"key": key})

    def _load_templates(self) -> list[Template]:
        names = defaultdict(list)
        for row in self._fetch("load_names"):
            names[row["template_id"]].append(row["name"])
        return [decode_template(row, names[row["template_id"]]) for row in self._fetch("load_templates")]

    def _save_template(self, template: Template) -> None:
        values = encode_template(template)
        with self._transaction() as db:
            for query in ("save_template", "save_build", "save_tag", "delete_stale_builds", "delete_names"):
                db.execute(self._queries[query], values)
            for position, name in enumerate(template.names):
                db.execute(self._queries["save_name"], {"name": name, "id": template.id, "position": position})

    async def _write_many(self, query: str, rows: list[dict[str, Any]]) -> None:
        def work() -> None:
            with self._transaction() as db:
                db.executemany(self._queries[query], rows)

        await self._run(work)

    async def _write(self, query: str, values: dict[str, Any]) -> None:
        await self._run(lambda: self._require_db().execute(self._queries[query], values))

    def _fetch(self, query: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        return [dict(row) for row in self._require_db().execute(self._queries[query], values or {})]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._require_db()
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _require_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError("the database is closed")
        return self._db

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _connect(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        db.row_factory = sqlite3.Row
        # WAL with NORMAL: a commit is one write without an fsync; only a power failure can lose the last ones.
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "busy_timeout = 5000"):
            db.execute(f"PRAGMA {pragma}")
        self._migrate(db)
        self._db = db

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _migrate(self, db: sqlite3.Connection) -> None:
        migrations = load_migrations()
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(migrations):
            raise StoreError(f"{self._path} was written by a newer Sandlot (version {version} of its tables)")
        for number, script in enumerate(migrations[version:], version + 1):
            db.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
