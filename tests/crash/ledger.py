"""What has been promised: sandboxes that were made, files whose write was answered, and whose container was killed."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Promise:
    """One sandbox that `create` or `fork` has returned."""

    sandbox_id: str
    container: str | None
    files: dict[str, str] = field(default_factory=dict)
    """Path and content of every write that was answered."""
    maybe_killed: bool = False
    """A kill was asked for, answered or not."""


class Ledger:
    """Kept by the load, read by the verdict; safe for threads."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = threading.Lock()
        self.promises: dict[str, Promise] = {}
        self.snapshots: dict[str, dict[str, str]] = {}
        """Snapshot ids, with the files that are promised to be in them."""
        self.killed_containers: set[str] = set()
        self.killed_sandboxes: set[str] = set()
        """Those that lived in a killed container at that moment, whichever it was when they were made."""
        self.counts: Counter[str] = Counter()

    def count(self, what: str) -> None:
        """One more of something."""
        with self._lock:
            self.counts[what] += 1

    def add(self, sandbox_id: str, files: dict[str, str]) -> Promise:
        """A sandbox was handed out, with these files in it."""
        promise = Promise(sandbox_id, self.find_container(sandbox_id), dict(files))
        with self._lock:
            self.promises[sandbox_id] = promise
        return promise

    def note_kill(self, container: str) -> None:
        """A container may be killed now, or was; call before and after, since a sandbox may move in between."""
        with self._lock:
            self.killed_containers.add(container)
            row = self._ask("SELECT id FROM sandboxes WHERE container = ?", container)
            if row:
                self.killed_sandboxes.add(row[0])

    def was_killed(self, promise: Promise) -> bool:
        """Whether the end of this sandbox was ours."""
        return promise.sandbox_id in self.killed_sandboxes or promise.container in self.killed_containers

    def find_container(self, sandbox_id: str) -> str | None:
        """The container that the server's own database names; None for a sandbox that it does not know (any more)."""
        row = self._ask("SELECT container FROM sandboxes WHERE id = ?", sandbox_id)
        return row[0] if row else None

    def count_rows(self) -> int:
        """How many sandboxes the server's database knows."""
        return int(self._ask("SELECT count(*) FROM sandboxes")[0])

    def _ask(self, question: str, *values: str) -> Any:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=5)) as db:
            return db.execute(question, values).fetchone()
