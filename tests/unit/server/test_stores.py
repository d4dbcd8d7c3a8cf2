"""What every store must do: the same tests for the one in memory and for SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_server.build_models import Build, BuildLog, BuildStatus, Layer, Reason
from sandlot_server.errors import StoreError
from sandlot_server.models import (
    ApiKey,
    Context,
    Idempotency,
    Ingress,
    Lifecycle,
    LogEntry,
    Sandbox,
    SandboxSpec,
    SandboxState,
    Team,
    Template,
    now,
    seconds,
)
from sandlot_server.store.base import Store
from sandlot_server.store.memory import MemoryStore
from sandlot_server.store.sqlite import SqliteStore

SPEC = SandboxSpec(
    template_id="base",
    build_id="b1",
    alias="base",
    cpu_count=2,
    memory_mb=512,
    timeout_s=300,
    metadata={"ä": "\x00'\""},
    env_vars={"A": "b"},
    lifecycle=Lifecycle(auto_pause=True, auto_resume=True),
    ingress=Ingress(False, "host:${PORT}", (443, 8443)),
)
SANDBOX = Sandbox("i1", "c1", SandboxState.STARTING, now(), now() + seconds(9), SPEC, "boot")
TEMPLATE = Template("t1", "b1", ("one", "team/one"), "image:1", 2, 512, now(), source_sandbox="i1")
LATER = now() + seconds(60)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "sandlot.db")
    await store.open()
    yield store
    await store.close()


async def test_sandboxes_come_back_as_they_were(store: Store) -> None:
    mcp = replace(SPEC, mcp_servers=("a", "b"), idempotency=Idempotency("k", "d"))
    await store.save_sandbox(replace(SANDBOX, id="i3", container="c3", spec=mcp))
    assert (await store.load_sandboxes())[0].spec == mcp
    await store.delete_sandbox("i3")
    plain = replace(SANDBOX, id="i2", container="c2", spec=replace(SPEC, ingress=None, alias=None))
    await store.save_sandbox(SANDBOX)
    await store.save_sandbox(plain)
    assert sorted(await store.load_sandboxes(), key=lambda one: one.id) == [SANDBOX, plain]


async def test_saving_again_replaces(store: Store) -> None:
    changed = replace(
        SANDBOX, state=SandboxState.PAUSED, container="c9", filesystem_only=True, stopped=True, boot_id="other"
    )
    await store.save_sandbox(SANDBOX)
    await store.save_sandbox(changed)
    assert await store.load_sandboxes() == [changed]


async def test_forgetting(store: Store) -> None:
    await store.save_sandbox(SANDBOX)
    await store.delete_sandbox("i1")
    await store.delete_sandbox("i1")
    assert await store.load_sandboxes() == []


async def test_what_is_saved_outlives_the_store(store: Store) -> None:
    await store.save_sandbox(SANDBOX)
    await store.save_template(TEMPLATE)
    await store.close()
    await store.open()
    assert await store.load_sandboxes() == [SANDBOX]
    assert await store.load_templates() == [TEMPLATE]


async def test_templates_and_their_names(store: Store) -> None:
    await store.save_template(TEMPLATE)
    rebuilt = replace(TEMPLATE, build_id="b2", image="image:2", names=("one",))
    await store.save_template(rebuilt)
    other = Template("t2", "b3", ("team/one", "two"), "image:3", 1, 128, LATER)
    await store.save_template(other)
    assert await store.load_templates() == [rebuilt, other]


async def test_a_name_moves_to_the_template_that_takes_it(store: Store) -> None:
    await store.save_template(TEMPLATE)
    await store.save_template(Template("t2", "b2", ("one",), "image:2", 1, 128, LATER))
    assert [(one.id, one.names) for one in await store.load_templates()] == [("t1", ("team/one",)), ("t2", ("one",))]


async def test_tags_and_the_end_of_a_template(store: Store) -> None:
    await store.save_template(TEMPLATE)
    tagged = replace(TEMPLATE, build_id="b2", tag="v2", created_at=LATER)
    await store.save_template(tagged)
    assert await store.load_templates() == [TEMPLATE, tagged]
    await store.delete_template("t1")
    await store.delete_template("t1")
    assert await store.load_templates() == []
    await store.save_template(TEMPLATE)
    assert await store.load_templates() == [TEMPLATE]


async def test_a_tag_is_taken_away(store: Store) -> None:
    await store.save_template(TEMPLATE)
    await store.save_template(replace(TEMPLATE, tag="v2"))
    await store.delete_tag("t1", "v2")
    await store.delete_tag("t1", "v2")
    assert await store.load_templates() == [TEMPLATE]


async def test_builds_and_what_they_say(store: Store) -> None:
    build = Build("b1", "t1", "one", ("default", "v2"), 2, 512, BuildStatus.WAITING, now(), now())
    await store.save_build(build)
    failed = replace(build, status=BuildStatus.ERROR, finished_at=LATER, reason=Reason("it rains", "2"))
    await store.save_build(failed)
    assert await store.load_builds() == [failed]
    lines = [BuildLog(now(), "info", "ä", "base"), BuildLog(now(), "error", "b")]
    await store.append_build_logs("b1", lines)
    assert await store.load_build_logs("b1") == lines
    await store.delete_builds("t1")
    assert (await store.load_builds(), await store.load_build_logs("b1")) == ([], [])


async def test_layers(store: Store) -> None:
    layer = Layer("k1", "image:1", Context("me", "/w", {"A": "b"}), "t1", now())
    await store.save_layer(layer)
    used = replace(layer, template_id="t2", used_at=LATER)
    await store.save_layer(used)
    assert await store.load_layers() == [used]
    await store.delete_layer("k1")
    await store.delete_layer("k1")
    assert await store.load_layers() == []


async def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sandlot.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="newer"):
        await store.open()
    await store.close()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "sandlot.db"
    path.write_text("this is no database, whatever it is called " * 100)
    store = SqliteStore(path)
    with pytest.raises(StoreError):
        await store.open()
    await store.close()


async def test_teams_and_keys(store: Store) -> None:
    await store.save_team(Team("acme", now()))
    key = ApiKey("k1", "acme", "ci", "digest", ("ab", "cdef"), now())
    await store.save_key(key)
    used = replace(key, name="old", last_used=LATER)
    await store.save_key(used)
    assert await store.load_keys() == [used]
    assert [team.name for team in await store.load_teams()] == ["acme"]
    await store.delete_key("k1")
    await store.delete_key("k1")
    assert await store.load_keys() == []


async def test_owners_are_known_for_as_long_as_anything_is_left(store: Store) -> None:
    await store.save_sandbox(replace(SANDBOX, spec=replace(SPEC, team="acme")))
    await store.save_sandbox(replace(SANDBOX, state=SandboxState.RUNNING, spec=replace(SPEC, team="acme")))
    await store.append_entries([LogEntry(now(), "i1", "info", "made")])
    await store.delete_sandbox("i1")
    assert await store.find_owner("i1") == "acme"
    await store.prune(keep_entries=1, samples_before=LATER, activity_before=LATER)
    assert await store.find_owner("i1") == "acme"
    await store.prune(keep_entries=0, samples_before=LATER, activity_before=LATER)
    assert await store.find_owner("i1") is None
