"""What one client watches."""

from __future__ import annotations

from collections.abc import Callable

from sandlot_envd.filesystem import inotify
from sandlot_envd.filesystem.entries import describe
from sandlot_envd.filesystem.inbox import Inbox
from sandlot_envd.users import Names

CREATED = "EVENT_TYPE_CREATE"
WRITTEN = "EVENT_TYPE_WRITE"
CHANGED = "EVENT_TYPE_CHMOD"
KINDS = (
    (inotify.CREATE | inotify.MOVED_TO, CREATED),
    (inotify.MOVED_FROM | inotify.MOVE_SELF, "EVENT_TYPE_RENAME"),
    (inotify.ATTRIB, CHANGED),
    (inotify.MODIFY, WRITTEN),
    (inotify.DELETE | inotify.DELETE_SELF, "EVENT_TYPE_REMOVE"),
)
"""E2B's event types by the bits of one kernel event, in the order in which they are told."""

MAX_MISSED = 1000


class Tree:
    """A folder, with all that is below it if `recursive`; `inbox` gets what changes there."""

    def __init__(self, root: str, recursive: bool, with_entries: bool) -> None:
        self.root = root
        self.recursive = recursive
        self.inbox = Inbox()
        self.wds: set[int] = set()
        self.folders: dict[str, int] = {}
        """Watch descriptors by path below the root."""
        self._missed: set[str] = set()
        self._with_entries = with_entries
        self._moves: dict[int, tuple[int, str]] = {}

    def tell(self, name: str, kind: str, read_names: Callable[[], Names]) -> None:
        """Put one change into the inbox, with its entry where one is wanted and there.

        A removed or renamed one never has it: what stands in its place now is something else.
        """
        entry = None
        if self._with_entries and kind in (CREATED, WRITTEN, CHANGED):
            try:
                entry = describe(self.locate(name), read_names())
            except OSError:
                entry = None
        self.inbox.put(name or ".", kind, entry)

    def tell_all(self, name: str, mask: int, read_names: Callable[[], Names]) -> None:
        """Put what one kernel event means into the inbox."""
        for bits, kind in KINDS:
            if mask & bits:
                self.tell(name, kind, read_names)

    def locate(self, name: str) -> str:
        """Return the full path of a name below the root."""
        return join(self.root, name)

    def begin_move(self, cookie: int, name: str) -> None:
        """Remember a watched folder that has been taken from `name`, until it is known where it went."""
        if (wd := self.folders.get(name)) is not None:
            self._moves[cookie] = (wd, name)

    def end_move(self, cookie: int) -> str | None:
        """Return from where the folder came that has been put somewhere in this tree; None for one from outside."""
        _, name = self._moves.pop(cookie, (0, None))
        return name

    def abandon_move(self, wd: int) -> str | None:
        """Return from where a watched folder was taken that has not come back to this tree."""
        for cookie, (moved, name) in self._moves.items():
            if moved == wd:
                del self._moves[cookie]
                return name
        return None

    def miss(self, name: str) -> None:
        """Remember a folder that was not where it was said to be: it went along when one above it was moved."""
        self._missed.add(name)
        if len(self._missed) > MAX_MISSED:
            self._missed.pop()

    def take_missed(self, folder: str) -> list[str]:
        """Return the folders that were missed in `folder`, by their paths below it, and forget them."""
        prefix = f"{folder}/"
        found = [name for name in self._missed if name.startswith(prefix)]
        self._missed.difference_update(found)
        return [name[len(prefix) :] for name in found]


Members = dict[Tree, str]
"""Who watches a folder, and its path below their root ("" for the root itself)."""


def join(folder: str, name: str) -> str:
    """Return a path in `folder`; either part may be empty."""
    if not folder or not name:
        return folder or name
    return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"
