"""Whatever can die is killed with SIGKILL at random moments: server, containers, and the engine where it is ours."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable

from crash.ledger import Ledger
from support.live import LiveServer

LONGEST_WAIT_S = 2.5


class Chaos(threading.Thread):
    """Kills one thing after the other until it is stopped, and starts again what does not start by itself."""

    def __init__(
        self,
        seed: int,
        server: LiveServer,
        ledger: Ledger,
        stop: threading.Event,
        restart_engine: Callable[[], None] | None,
    ) -> None:
        super().__init__(name="chaos")
        self._random = random.Random(f"{seed}-chaos")
        self._server = server
        self._ledger = ledger
        self._halt = stop
        self._restart_engine = restart_engine
        self._victims: list[Callable[[], None]] = [self._kill_server, self._kill_container]
        if restart_engine is not None:
            self._victims.append(self._kill_engine)
        self._untried: list[Callable[[], None]] = self._random.sample(self._victims, len(self._victims))
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._halt.wait(self._random.uniform(0.3, LONGEST_WAIT_S)) or self._untried:
                self._choose()()
        except BaseException as error:  # the verdict has to know: without chaos nothing was tried
            self.error = error

    def _choose(self) -> Callable[[], None]:
        """Everything once, in any order, so that a short run leaves nothing out; then whatever comes."""
        if self._untried:
            return self._untried.pop()
        return self._random.choice([*self._victims, self._kill_container])

    def _kill_server(self) -> None:
        self._server.kill()
        self._ledger.count("server killed")
        time.sleep(self._random.uniform(0, 0.5))
        self._server.start()

    def _kill_container(self) -> None:
        names = list_containers(self._server.installation)
        if not names:
            self._untried.append(self._kill_container)
            return
        name = self._random.choice(names)
        # Noted before as well: what is asked of the engine may be done although the answer is lost.
        self._ledger.note_kill(name)
        subprocess.run(["docker", "kill", name], capture_output=True, timeout=60, check=False)
        self._ledger.note_kill(name)
        self._ledger.count("container killed")

    def _kill_engine(self) -> None:
        """Without live-restore it takes its containers along; no sandbox is gone for that, since the files stay."""
        assert self._restart_engine is not None
        self._restart_engine()
        self._ledger.count("engine killed")


def list_containers(installation: str, *, every: bool = False) -> list[str]:
    """Names of the installation's containers that run, or of all."""
    label = f"label=dev.sandlot.installation={installation}"
    command = ["docker", "ps", *(["--all"] if every else []), "--filter", label, "--format", "{{.Names}}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.split()


def list_pids(installation: str) -> list[int]:
    """The first process of each of the installation's containers that run, as the engine's host numbers them."""
    command = ["docker", "inspect", "--format", "{{.State.Pid}}", *list_containers(installation)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [int(pid) for pid in done.stdout.split()]
