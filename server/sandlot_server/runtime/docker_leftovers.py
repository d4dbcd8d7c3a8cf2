"""What an engine leaves behind that was killed: containers that run on although it has forgotten them.

Seen with Docker 20.10, with `live-restore` and without: it comes back, counts a container as ended or removed whose
processes go on, and gives its address to the next one. Then two agents answer at one address.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound

from sandlot_server.errors import EngineError
from sandlot_server.runtime import forgotten
from sandlot_server.runtime.container_config import make_watchman_config

YOUNG_S = 10
"""The engine starts the first process of a container a moment before it counts it as running."""
PAUSE_S = 2


@dataclass(frozen=True, slots=True)
class Holder:
    """What holds a container, as the engine's host sees it: see `forgotten.find`."""

    container: str
    holder: int
    pid: int
    age_s: float


class Leftovers:
    """Ends what no container of the engine accounts for; every method blocks."""

    def __init__(self, find_client: Callable[[], Any], installation: str, image: str) -> None:
        self._find_client = find_client
        self._installation = installation
        self._image = image
        self._prefix = f"sandlot-{installation}-"

    def end(self, agent_volume: str) -> list[str]:
        """Return the containers that were ended; raises EngineError."""
        deadline, ended = time.monotonic() + YOUNG_S + PAUSE_S, []
        while left := self._list_left(agent_volume):
            sure = [one for one in left if one.age_s >= YOUNG_S or self._find_pid(one.container) is None]
            if sure:
                self._run(agent_volume, *(str(one.holder) for one in sure))
                ended += [one.container for one in sure]
            if len(sure) == len(left) or time.monotonic() > deadline:
                break
            time.sleep(PAUSE_S)
        return ended

    def _list_left(self, agent_volume: str) -> list[Holder]:
        found = [Holder(**json.loads(line)) for line in self._run(agent_volume).splitlines()]
        return [one for one in found if one.pid == 0 or self._find_pid(one.container) != one.pid]

    def _find_pid(self, container: str) -> int | None:
        """0 for one that does not run; None where the engine knows no such container."""
        try:
            return int(self._find_client().inspect_container(container)["State"]["Pid"])
        except NotFound:
            return None

    def _run(self, agent_volume: str, *arguments: str) -> str:
        program = Path(forgotten.__file__).read_text()
        command = [program, self._prefix, *arguments]
        client = self._find_client()
        config = make_watchman_config(self._installation, self._image, agent_volume, command)
        tool = client.create_container_from_config(config)["Id"]
        try:
            client.start(tool)
            code = client.wait(tool)["StatusCode"]
            output = str(client.logs(tool, stdout=True, stderr=code != 0), errors="replace")
        except APIError as error:
            raise EngineError(f"what a killed engine left could not be looked for: {error.explanation}") from error
        finally:
            client.remove_container(tool, force=True)
        if code != 0:
            raise EngineError(f"what a killed engine left could not be looked for: {output.strip()}")
        return output
