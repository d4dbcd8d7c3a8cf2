"""POST /files/compose of a real agent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.agent import Agent, Answer


async def compose(agent: Agent, sources: Any, destination: Any, **more: Any) -> Answer:
    body = {"source_paths": sources, "destination": destination, "username": "user", **more}
    return await agent.request(
        "POST", "/files/compose", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    for name, content in (("1", b"one"), ("2", b""), ("3", os.urandom(3 << 20))):
        (tmp_path / name).write_bytes(content)
    return [str(tmp_path / name) for name in "123"]


async def test_files_become_one(agent: Agent, tmp_path: Path, sources: list[str]) -> None:
    content = b"".join(Path(source).read_bytes() for source in sources)
    target = tmp_path / "made/whole"
    answer = await compose(agent, sources, str(target))
    assert (answer.status, answer.json) == (200, {"path": str(target), "name": "whole", "type": "file"})
    assert target.read_bytes() == content
    assert (target.stat().st_mode & 0o777, target.stat().st_uid, target.parent.stat().st_uid) == (0o644, 1000, 1000)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["made", "whole"]


async def test_one_replaces_what_is_there(agent: Agent, tmp_path: Path, sources: list[str]) -> None:
    target = tmp_path / "whole"
    target.write_text("before")
    with target.open() as held:
        assert (await compose(agent, [sources[0], sources[0]], str(target))).status == 200
        assert held.read() == "before"
    assert target.read_bytes() == b"oneone"


async def test_paths_are_those_of_the_user(agent: Agent) -> None:
    (agent.home / "part").write_text("x")
    answer = await compose(agent, ["part"], "~/whole")
    assert answer.json["path"] == f"{agent.home}/whole"


async def test_what_cannot_be_composed(agent: Agent, tmp_path: Path, sources: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    target = f"{tmp_path}/whole"
    for body, status, message in (
        (([], target), 400, "source_paths"),
        (("x", target), 400, "source_paths"),
        (([1], target), 400, "source_paths"),
        ((sources, ""), 400, "destination is required"),
        ((sources, None), 400, "destination is required"),
        (([*sources, f"{tmp_path}/missing"], target), 404, "source file not found"),
        (([f"{sources[0]}/below"], target), 404, "source file not found"),
        (([*sources, str(tmp_path)], target), 400, "not a regular file"),
        (([*sources], sources[1]), 400, "same as the destination"),
        (([*sources], f"{tmp_path}/folder"), 400, "is a directory"),
        (([*sources], f"{sources[0]}/below"), 400, "is a file"),
        (([*sources], "a\0b"), 400, "NUL"),
        ((["a\ud800b"], target), 400, "surrogate"),
        (([*sources], f"{tmp_path}/{'x' * 250}"), 400, "too long"),
    ):
        answer = await compose(agent, *body)
        assert (answer.status, answer.json["code"]) == (status, status), body
        assert message in answer.json["message"]
    assert sorted(tmp_path.iterdir()) == before
    assert (await compose(agent, sources, target, username="nobody-here")).status == 401
    assert (await compose(agent, sources, target, username=7)).status == 400


async def test_bodies_that_are_no_objects(agent: Agent) -> None:
    for body in (b"[]", b"{", b'"x"', b"\xff"):
        answer = await agent.request("POST", "/files/compose", body)
        assert answer.status == 400, body


async def test_the_token_is_needed(own_agent: Agent, tmp_path: Path, sources: list[str]) -> None:
    await own_agent.init(accessToken="secret")
    assert (await compose(own_agent, sources, f"{tmp_path}/x")).status == 401
    own_agent.token = "secret"
    assert (await compose(own_agent, sources, f"{tmp_path}/x")).status == 200
