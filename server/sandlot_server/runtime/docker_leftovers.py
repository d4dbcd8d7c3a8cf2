"""What an engine leaves behind that was killed: containers that run on, or stand still, without its knowledge.

Seen with Docker 20.10, with `live-restore` and without: it comes back, counts a container as ended or removed whose
processes go on, and gives its address to the next one. Then two agents answer at one address. Or it was killed in the
middle of a pause, and counts a container as running whose processes are frozen; it then refuses to unpause it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import NotFound

from sandlot_server.errors import EngineError
from sandlot_server.runtime import forgotten
from sandlot_server.runtime.container_config import make_watchman_config
from sandlot_server.runtime.docker_client import run_tool

YOUNG_S = 10
"""What holds a container that the engine knows is at least so old when it is ended."""
PAUSE_S = 2
END, WAKE = "end", "wake"


@dataclass(frozen=True, slots=True)
class Holder:
    """What holds a container, as the engine's host sees it: see `forgotten.find`."""

    container: str
    holder: int
    pid: int
    age_s: float
    frozen: bool


class Leftovers:
    """Puts right what no container of the engine accounts for; every method blocks."""

    def __init__(self, find_client: Callable[[], Any], installation: str, image: str) -> None:
        self._find_client = find_client
        self._installation = installation
        self._image = image
        self._prefix = f"sandlot-{installation}-"

    def end(self, agent_volume: str) -> list[str]:
        """Return the containers that were ended, or woken; raises EngineError."""
        deadline, seen, done = time.monotonic() + YOUNG_S + PAUSE_S, set[int](), list[str]()
        while True:
            strange = {one: work for one in self._look(agent_volume) if (work := self._judge(one))}
            sure = {one: work for one, work in strange.items() if self._is_sure(one, work, seen)}
            for work in set(sure.values()):
                self._run(agent_volume, work, *(str(one.holder) for one in sure if sure[one] == work))
            done += [one.container for one in sure]
            seen = {one.holder for one in strange}
            if len(sure) == len(strange) or time.monotonic() > deadline:
                return done
            time.sleep(PAUSE_S)

    def _look(self, agent_volume: str) -> list[Holder]:
        return [Holder(**json.loads(line)) for line in self._run(agent_volume).splitlines()]

    def _judge(self, one: Holder) -> str:
        """What is to be done about it; nothing where the engine knows."""
        state = self._find_state(one.container)
        if state is None or one.pid == 0 or state["Pid"] != one.pid:
            return END
        return WAKE if one.frozen and not state["Paused"] else ""

    def _is_sure(self, one: Holder, work: str, seen: set[int]) -> bool:
        """The engine acts a moment before it counts: what it may be about to count is looked at twice."""
        if work == WAKE:
            return one.holder in seen
        return one.age_s >= YOUNG_S or self._find_state(one.container) is None

    def _find_state(self, container: str) -> dict[str, Any] | None:
        """None where the engine knows no such container."""
        try:
            state: dict[str, Any] = self._find_client().inspect_container(container)["State"]
        except NotFound:
            return None
        return state

    def _run(self, agent_volume: str, *arguments: str) -> str:
        program = Path(forgotten.__file__).read_text()
        command = [program, self._prefix, *arguments]
        config = make_watchman_config(self._installation, self._image, agent_volume, command)
        return run_tool(
            self._find_client(),
            config,
            lambda why: EngineError(f"what a killed engine left could not be looked for: {why}"),
        )
