"""A database of any earlier version, with sandboxes in every state, is brought up to date with nothing lost."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from sandlot_server.installation import open_installation
from sandlot_server.models import Activity, LogEntry, SandboxState, now
from sandlot_server.runtime.base import ContainerSpec, Status
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings
from sandlot_server.store.rows import decode_time, encode_time
from sandlot_server.store.sqlite import SqliteStore, load_migrations

VERSIONS = range(len(load_migrations()) + 1)
FIRST_SPEC = {
    "template_id": "t1",
    "build_id": "b1",
    "alias": "mine",
    "cpu_count": 1,
    "memory_mb": 256,
    "timeout_s": 300,
    "secure": True,
    "metadata": {"kept": "yes"},
    "env_vars": {},
    "lifecycle": {"auto_pause": False, "auto_pause_memory": True, "auto_resume": False},
    "ingress": None,
}
"""What was asked for, as the first version wrote it down; later ones add to it."""
STATES = {"i1": "running", "i2": "paused", "i3": "pausing", "i4": "starting", "i5": "killing"}


def write_database(path: Path, version: int) -> None:
    """Make a database as a server of that version left it: only with the tables and columns of its time."""
    with sqlite3.connect(path) as db:
        for number, script in enumerate(load_migrations()[:version], 1):
            db.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
        if version >= 1:
            write_template(db, version)
            write_sandboxes(db)
        if version >= 2:
            db.execute(
                "INSERT INTO entries (sandbox_id, at, event, level, message, fields)"
                " VALUES ('i1', 7, 'created', 'info', 'made', '{}')"
            )
        if version in (6, 7):
            db.execute("INSERT INTO activity (at, concurrent, started) VALUES (7000000, 2, 1)")
    db.close()


def write_template(db: sqlite3.Connection, version: int) -> None:
    db.execute("BEGIN")
    if version < 3:
        db.execute("INSERT INTO templates (id, build_id, created_at, updated_at) VALUES ('t1', 'b1', 1, 1)")
    else:
        db.execute("INSERT INTO templates (id, created_at, updated_at) VALUES ('t1', 1, 1)")
    db.execute(
        "INSERT INTO builds (id, template_id, image, cpu_count, memory_mb, created_at)"
        " VALUES ('b1', 't1', 'image:1', 1, 256, 1)"
    )
    db.execute("INSERT INTO template_names (name, template_id, position) VALUES ('mine', 't1', 0)")
    if version >= 3:
        db.execute(
            "INSERT INTO template_tags (template_id, tag, build_id, created_at) VALUES ('t1', 'default', 'b1', 1)"
        )
    db.execute("COMMIT")


def write_sandboxes(db: sqlite3.Connection) -> None:
    end_at = encode_time(now() + timedelta(hours=1))
    for sandbox_id, state in STATES.items():
        row = (sandbox_id, f"c-{sandbox_id}", state, 1, end_at, json.dumps(FIRST_SPEC), "boot", False)
        db.execute(
            "INSERT INTO sandboxes (id, container, state, started_at, end_at, spec, boot_id, filesystem_only)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )


@pytest.mark.parametrize("version", VERSIONS)
async def test_rows_of_an_earlier_version_come_back(tmp_path: Path, version: int) -> None:
    path = tmp_path / "sandlot.db"
    write_database(path, version)
    store = SqliteStore(path)
    for _ in range(2):  # opened again, nothing is migrated twice
        await store.open()
        sandboxes = {one.id: one for one in await store.load_sandboxes()}
        templates = await store.load_templates()
        await store.append_entries([LogEntry(now(), "i1", "info", "later")])
        entries = [one.message for one in await store.load_entries("i1")]
        await store.close()
    if version < 1:
        assert (sandboxes, templates) == ({}, [])
        return
    assert {one.id: str(one.state) for one in sandboxes.values()} == STATES
    assert sandboxes["i1"].spec.metadata == {"kept": "yes"}
    assert [(one.id, one.build_id, one.names, one.tag) for one in templates] == [("t1", "b1", ("mine",), "default")]
    await store.open()
    assert [await store.find_owner(one) for one in STATES] == ["sandlot"] * len(STATES)
    activity = await store.load_activity("sandlot", decode_time(0), decode_time(9_000_000), 1)
    assert activity == ([Activity(decode_time(7_000_000), 2, 1)] if version in (6, 7) else [])
    await store.close()
    assert {one.spec.team for one in sandboxes.values()} | {one.team for one in templates} == {"sandlot"}
    assert entries == [*(["made"] if version >= 2 else []), "later", "later"]


@pytest.mark.parametrize("version", VERSIONS[1:])
async def test_sandboxes_of_an_earlier_version_go_on(tmp_path: Path, version: int) -> None:
    """The whole server starts on the database while the containers of its sandboxes live."""
    write_database(tmp_path / "sandlot.db", version)
    runtime = MemoryRuntime()
    settings = Settings(home=tmp_path, runtime="memory", pool_size=0)
    installation = open_installation(settings, runtime=runtime)
    for sandbox_id in STATES:
        await runtime.start(make_container(f"c-{sandbox_id}", installation.identity.control_token(f"c-{sandbox_id}")))
    await runtime.pause("c-i2")
    async with installation.run():
        states = {one.id: one.state for one in installation.service.list()}
        assert states == {"i1": SandboxState.RUNNING, "i2": SandboxState.PAUSED, "i3": SandboxState.RUNNING}
        await installation.service.resume("i2", 60)
        await installation.tasks.finish(5)
        containers = {info.name: info.status for info in await runtime.list_containers()}
        assert containers == dict.fromkeys(("c-i1", "c-i2", "c-i3"), Status.RUNNING)
    await runtime.destroy()


def make_container(name: str, control_token: str) -> ContainerSpec:
    return ContainerSpec(name, "t1", "b1", "image:1", control_token, 1, 256, 100)
