"""A hundred sandboxes alive at once on one small machine: each answers, each watches files, all pause and resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from e2b import FilesystemEventType, Sandbox

from support.live import LiveServer

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

COUNT = 100
AT_ONCE = 4


def for_each(sandboxes: list[Any], work: Callable[[Any], Any]) -> list[Any]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, sandboxes))


@pytest.fixture(scope="module")
def hundred(server: LiveServer) -> Iterator[list[Sandbox]]:
    made = for_each(list(range(COUNT)), lambda n: Sandbox.create(timeout=900, metadata={"n": str(n)}, **server.options))
    yield made
    for_each(made, lambda sandbox: sandbox.kill())


def test_each_answers(hundred: list[Sandbox]) -> None:
    told = for_each(hundred, lambda sandbox: sandbox.commands.run("echo $E2B_SANDBOX_ID").stdout.strip())
    assert told == [sandbox.sandbox_id for sandbox in hundred]


def test_all_watch_at_once(hundred: list[Sandbox]) -> None:
    watchers = for_each(hundred, lambda sandbox: sandbox.files.watch_dir("/home/user"))
    for_each(hundred, lambda sandbox: sandbox.files.write("watched", "x"))
    seen = for_each(watchers, lambda watcher: [event.type for event in watcher.get_new_events()])
    wanted = [FilesystemEventType.CREATE, FilesystemEventType.CHMOD, FilesystemEventType.WRITE]
    assert seen == [wanted] * COUNT


def test_listing_them_is_quick_to_say(hundred: list[Sandbox], server: LiveServer) -> None:
    taken = []
    for _ in range(40):
        began = time.perf_counter()
        status, body = server.call("GET", "/v2/sandboxes?limit=100")
        taken.append((time.perf_counter() - began) * 1000)
        assert status == 200
        assert isinstance(body, list)
        assert len(body) == COUNT
    print(f"list of {COUNT}: p50 {sorted(taken)[20]:.1f} ms, p95 {sorted(taken)[38]:.1f} ms")


def test_all_pause_and_resume(hundred: list[Sandbox], server: LiveServer) -> None:
    assert all(for_each(hundred, lambda sandbox: sandbox.pause()))
    resumed = for_each(hundred, lambda sandbox: Sandbox.connect(sandbox.sandbox_id, 900, **server.options))
    assert set(for_each(resumed, lambda sandbox: sandbox.files.read("watched"))) == {"x"}
