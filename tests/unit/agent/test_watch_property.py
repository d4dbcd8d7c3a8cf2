"""Whatever happens in a recursively watched folder, its changes tell what is there in the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.agent import Agent

SERVICE = "filesystem.Filesystem"
CASES = settings(
    max_examples=int(os.environ.get("FUZZ_CASES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["mkdir", "write", "remove", "in", "out"]), PATHS, PATHS),
    st.tuples(st.just("move"), PATHS, PATHS),
    st.tuples(st.sampled_from(["stop", "go", "wait"]), PATHS, PATHS),
)


class World:
    """A watched folder, a place outside of it, and what is done with them."""

    def __init__(self, agent: Agent, folder: str) -> None:
        self.agent = agent
        self.root = Path(folder, "root")
        self.outside = Path(folder, "outside")
        for path in (self.root, self.outside):
            path.mkdir()

    def act(self, step: tuple[str, str, str]) -> None:
        """Carry a step out; one that is impossible at the moment has no effect."""
        kind, path, other = step
        with contextlib.suppress(OSError):
            match kind:
                case "mkdir":
                    (self.root / path).mkdir(parents=True)
                case "write":
                    (self.root / path).write_text("x")
                case "remove":
                    remove(self.root / path)
                case "move":
                    (self.root / path).rename(self.root / other)
                case "in":
                    (self.outside / "new/deep").mkdir(parents=True, exist_ok=True)
                    (self.outside / "new/deep/file").write_text("x")
                    (self.outside / "new").rename(self.root / path)
                case "out":
                    with contextlib.suppress(FileNotFoundError):
                        remove(self.outside / "old")
                    (self.root / path).rename(self.outside / "old")
                case "stop" | "go":
                    os.kill(self.agent.pid, signal.SIGSTOP if kind == "stop" else signal.SIGCONT)

    def list_all(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}

    def touch_everywhere(self) -> set[str]:
        """Make a file in every folder; return their names."""
        folders = [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]
        for folder in folders:
            (folder / "last").touch()
        return {str((folder / "last").relative_to(self.root)) for folder in folders}


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def replay(events: list[dict[str, str]]) -> tuple[set[str], set[str]]:
    """Return what certainly is there and what may be, as one knows it who has only the changes.

    A folder's move is told of the folder alone, as a RENAME here and a CREATE there; what is in it comes along.
    """
    certain: set[str] = set()
    possible: set[str] = set()
    moved: set[str] = set()
    for event in events:
        name, kind = event["name"], event["type"].removeprefix("EVENT_TYPE_")
        if kind == "CREATE":
            certain.add(name)
            possible |= {name} | {name + rest for rest in moved}
        elif kind in ("REMOVE", "RENAME"):
            certain.difference_update(tuple(below(certain, name)))
            gone = set(below(possible, name))
            possible -= gone
            moved |= {path[len(name) :] for path in gone} if kind == "RENAME" else set()
    return certain, possible


def below(paths: set[str], folder: str) -> Iterator[str]:
    return (path for path in paths if path == folder or path.startswith(f"{folder}/"))


async def follow(agent: Agent, steps: list[tuple[str, str, str]], polls: bool) -> None:
    """Take the steps, and compare what is there with what the changes tell of it."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(agent, folder)
        watcher = await agent.call(f"{SERVICE}/CreateWatcher", {"path": str(world.root), "recursive": True})
        events = []
        try:
            for step in steps:
                world.act(step)
                if step[0] == "wait":
                    await asyncio.sleep(0.001)  # long enough for the agent to begin with what it was told
                if polls and step[0] != "stop":
                    os.kill(agent.pid, signal.SIGCONT)
                    events += await poll(agent, watcher)
        finally:
            os.kill(agent.pid, signal.SIGCONT)
        events += await poll(agent, watcher)
        certain, possible = replay(events)
        assert certain <= world.list_all() <= possible
        assert await poll(agent, watcher) == []
        new = world.touch_everywhere()
        assert {event["name"] for event in await poll(agent, watcher)} == new
        await agent.call(f"{SERVICE}/RemoveWatcher", watcher)


async def poll(agent: Agent, watcher: dict[str, str]) -> list[dict[str, str]]:
    answer = await agent.call(f"{SERVICE}/GetWatcherEvents", watcher)
    return list(answer["events"])


@CASES
@given(st.lists(STEPS, max_size=25), st.booleans())
def test_property_changes_tell_what_is_there(agent: Agent, steps: list[tuple[str, str, str]], polls: bool) -> None:
    asyncio.run(follow(agent, steps, polls))
