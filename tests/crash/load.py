"""A mixed load: each worker does what people do with sandboxes, to sandboxes of its own, whatever fails meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from crash.ledger import Ledger, Promise
from sandlot import NotFoundException, Sandbox

MOST_SANDBOXES = 3
REQUEST_S = 20
WEIGHTS = {"create": 3, "run": 4, "write": 6, "pause": 2, "resume": 2, "snapshot": 1, "fork": 1, "kill": 1}


class Worker(threading.Thread):
    """One client. What it is told has happened goes into the ledger; what it is not told may have happened or not."""

    def __init__(self, number: int, seed: int, ledger: Ledger, stop: threading.Event) -> None:
        super().__init__(name=f"worker-{number}")
        self._random = random.Random(f"{seed}-{number}")
        self._number = number
        self._ledger = ledger
        self._halt = stop
        self._mine: list[Promise] = []
        self._writes = 0

    def run(self) -> None:
        while not self._halt.is_set():
            name = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            action: Callable[[Promise], None] = getattr(self, f"_{name}")
            try:
                if name == "create" or not self._mine:
                    self._create()
                else:
                    action(self._random.choice(self._mine))
                self._ledger.count(name)
            except NotFoundException:
                self._ledger.count(f"{name}: gone")
                self._halt.wait(0.1)
            except Exception as error:
                self._ledger.count(f"{name}: failed")
                self._ledger.count(f"  {type(error).__name__}")
                self._halt.wait(0.2)

    def _create(self, promise: Promise | None = None) -> None:
        if len(self._mine) >= MOST_SANDBOXES:
            return
        sandbox = Sandbox.create(timeout=3000, request_timeout=REQUEST_S, retries=0)
        self._mine.append(self._ledger.add(sandbox.sandbox_id, {}))

    def _connect(self, promise: Promise) -> Sandbox:
        return Sandbox.connect(promise.sandbox_id, timeout=3000, request_timeout=REQUEST_S, retries=0)

    def _run(self, promise: Promise) -> None:
        assert self._connect(promise).commands.run("echo ok", timeout=REQUEST_S).stdout == "ok\n"

    def _write(self, promise: Promise) -> None:
        self._writes += 1
        path, content = f"/home/user/{self._number}-{self._writes}", f"content {self._writes}"
        self._connect(promise).files.write(path, content, request_timeout=REQUEST_S)
        promise.files[path] = content

    def _pause(self, promise: Promise) -> None:
        self._connect(promise).pause(mode=self._random.choice(["full", "filesystem"]), request_timeout=REQUEST_S)

    def _resume(self, promise: Promise) -> None:
        self._connect(promise)

    def _snapshot(self, promise: Promise) -> None:
        files = dict(promise.files)
        made = self._connect(promise).create_snapshot(request_timeout=REQUEST_S)
        self._ledger.snapshots[made.snapshot_id] = files

    def _fork(self, promise: Promise) -> None:
        files = dict(promise.files)
        for fork in self._connect(promise).fork(timeout=3000, request_timeout=REQUEST_S):
            if isinstance(fork, Exception):
                raise fork
            self._mine.append(self._ledger.add(fork.sandbox_id, files))

    def _kill(self, promise: Promise) -> None:
        promise.maybe_killed = True
        self._mine.remove(promise)
        Sandbox.kill(promise.sandbox_id, request_timeout=REQUEST_S)
