"""Watching folders: one inotify instance for the whole agent, made for the first watcher and closed after the last.

A folder has one watch descriptor however many clients watch it; `_members` tells who they are and how each of them
calls the folder. Folders that appear in a recursively watched one are watched as soon as their creation is read. What
was put into them before that is found by a look into them, and told as if it had been seen (`_adopt`).
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from collections.abc import Iterable

from sandlot_envd.errors import ResourceExhausted
from sandlot_envd.filesystem import inotify
from sandlot_envd.filesystem.tree import CREATED, WRITTEN, Members, Tree, join
from sandlot_envd.users import Names

ALL_AT_ONCE = 200
"""Folders put under watch before others get a turn on the event loop."""

APPEARED = inotify.CREATE | inotify.MOVED_TO
GONE = inotify.DELETE | inotify.MOVED_FROM


class Watch:
    """The agent's watches. Everything runs on the event loop."""

    def __init__(self) -> None:
        self._inotify: inotify.Inotify | None = None
        self._members: dict[int, Members] = {}
        self._trees: set[Tree] = set()
        self._backlog: deque[inotify.Event] = deque()
        self._names: Names | None = None

    # -- who watches what

    async def add(self, tree: Tree) -> None:
        """Begin to watch; everything that changes after the return is told. Raises AgentError."""
        try:
            self._open()
            self._trees.add(tree)
            self._join(tree.root, {tree: ""}, 0)
            await self.cover(tree)
        except OSError as error:
            self.remove(tree)
            raise inotify.explain(error, tree.root) from error
        except BaseException:
            self.remove(tree)
            raise

    def _open(self) -> None:
        if self._inotify is None:
            self._inotify = inotify.Inotify()
            asyncio.get_running_loop().add_reader(self._inotify.fd, self._on_readable)

    def remove(self, tree: Tree) -> None:
        """Stop watching for one client; the last one closes the instance, of which the host has few."""
        self._trees.discard(tree)
        self._leave(tree, tuple(tree.wds))
        if self._inotify is not None and not self._trees:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None
            self._backlog.clear()
            self._members.clear()

    def _join(self, path: str, members: Members, flags: int = inotify.DONT_FOLLOW) -> tuple[int, Members]:
        """Watch one folder for `members`; returns its watch descriptor and those who did not watch it before.

        Raises OSError.
        """
        assert self._inotify is not None
        wd = self._inotify.add(path, flags)
        known = self._members.setdefault(wd, {})
        new: Members = {}
        for tree, name in members.items():
            if wd not in tree.wds:
                tree.wds.add(wd)
                known[tree] = new[tree] = name
            elif known[tree] != name and not _is_same(path, tree.locate(known[tree])):
                self._rename(tree, known[tree], name)
        return wd, new

    def _leave(self, tree: Tree, wds: Iterable[int]) -> None:
        for wd in wds:
            tree.wds.discard(wd)
            members = self._members.get(wd, {})
            members.pop(tree, None)
            if not members and self._members.pop(wd, None) is not None and self._inotify is not None:
                self._inotify.remove(wd)

    def _list_below(self, tree: Tree, folder: str) -> list[int]:
        """Return the watch descriptors of a folder and of all in it."""
        return [wd for wd in tree.wds if f"{self._members[wd][tree]}/".startswith(f"{folder}/")]

    def _rename(self, tree: Tree, before: str, after: str) -> bool:
        """Call a folder and all in it by their new names; returns whether any was known."""
        wds = self._list_below(tree, before)
        for wd in wds:
            members = self._members[wd]
            members[tree] = after + members[tree][len(before) :]
        return bool(wds)

    async def cover(self, tree: Tree) -> None:
        """Watch every folder below a recursive tree's root; the kernel tells of those that appear meanwhile.

        Raises OSError when a limit is reached.
        """
        waiting = [""] if tree.recursive else []
        count = 0
        while waiting:
            folder = waiting.pop()
            for name in _list_folders(tree.locate(folder)):
                path = join(folder, name)
                try:
                    self._join(tree.locate(path), {tree: path})
                except (FileNotFoundError, NotADirectoryError):
                    continue
                waiting.append(path)
                count += 1
                if count % ALL_AT_ONCE == 0:
                    await asyncio.sleep(0)

    # -- what happens

    def _on_readable(self) -> None:
        assert self._inotify is not None
        self._backlog.extend(self._inotify.read())
        self._work_off()

    def drain(self) -> None:
        """Take in everything that has happened before this call."""
        if self._inotify is not None:
            self._read_waiting()
            self._work_off()

    def _read_waiting(self) -> list[inotify.Event]:
        """Move what waits in the kernel now to the backlog, and return it."""
        assert self._inotify is not None
        size = self._inotify.count_waiting()
        events = self._inotify.read(size) if size else []
        self._backlog.extend(events)
        return events

    def _work_off(self) -> None:
        self._names = None
        while self._backlog:
            self._dispatch(self._backlog.popleft())

    def _read_names(self) -> Names:
        """Return the names of users, read once for what is worked off at once, and only when a client wants them."""
        if self._names is None:
            self._names = Names()
        return self._names

    def _dispatch(self, event: inotify.Event) -> None:
        wd, mask, _, name = event
        if mask & inotify.Q_OVERFLOW:
            for tree in self._trees:
                tree.inbox.fail(ResourceExhausted("event queue overflow: the kernel has dropped changes"))
            return
        members = self._members.get(wd, {})
        if mask & inotify.IGNORED:
            for tree in members:
                tree.wds.discard(wd)
            self._members.pop(wd, None)
        elif not name:
            for tree, folder in tuple(members.items()):
                self._tell_of_itself(tree, folder, mask)
        else:
            for tree, folder in members.items():
                tree.tell_all(join(folder, name), mask, self._read_names)
            if mask & inotify.ISDIR:
                self._follow(members, event)

    def _tell_of_itself(self, tree: Tree, folder: str, mask: int) -> None:
        """Something happened to a watched folder. For those below the root their parent has told it."""
        if folder == "":
            tree.tell_all("", mask, self._read_names)
            if mask & inotify.MOVE_SELF:
                self._leave(tree, tuple(tree.wds))  # nobody knows where to; E2B, too, tells nothing more
        elif mask & inotify.MOVE_SELF and tree.abandon_move(folder):
            # The last of the three events of a move: the second did not come, so it has left the tree.
            self._leave(tree, self._list_below(tree, folder))

    def _follow(self, members: Members, event: inotify.Event) -> None:
        """Keep up with a folder that has come or gone, for those who watch its parent recursively."""
        _, mask, cookie, name = event
        new: Members = {}
        for tree, folder in members.items():
            path = join(folder, name)
            if not tree.recursive:
                continue
            if mask & inotify.MOVED_FROM:
                tree.begin_move(cookie, path)
            elif mask & APPEARED:
                before = tree.end_move(cookie)
                if before is None or not self._rename(tree, before, path):
                    new[tree] = path
        if new:
            self._adopt(new)

    def _adopt(self, members: Members) -> None:
        """Watch a folder and those in it, and tell what was in them before they were watched."""
        waiting = [members]
        while waiting:
            members = waiting.pop()
            tree, folder = next(iter(members.items()))
            try:
                waiting += self._enter(tree.locate(folder), members)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                for one in members:
                    one.inbox.fail(inotify.explain(error, tree.locate(folder)))

    def _enter(self, path: str, members: Members) -> list[Members]:
        """Watch one folder, tell what was in it before, and return the folders among that."""
        wd, members = self._join(path, members)
        found = sorted(os.listdir(path)) if members else []
        # What listdir saw has been queued by the kernel by now, if it appeared when the folder was watched.
        told = Told(self._read_waiting(), wd)
        folders = []
        for name in found:
            inside = {tree: join(folder, name) for tree, folder in members.items()}
            if name not in told.appeared and self._tell_found(join(path, name), inside, name in told.written):
                folders.append(inside)
        return folders

    def _tell_found(self, path: str, members: Members, is_written: bool) -> bool:
        """Tell of one entry as of a new one; returns whether it is a folder."""
        try:
            info = os.lstat(path)
        except FileNotFoundError:
            return False  # gone again: the kernel tells
        has_content = stat.S_ISREG(info.st_mode) and info.st_size > 0
        for tree, name in members.items():
            tree.tell(name, CREATED, self._read_names)
            if has_content and not is_written:
                tree.tell(name, WRITTEN, self._read_names)
        return stat.S_ISDIR(info.st_mode)


class Told:
    """What the kernel itself tells of a folder's entries since it is watched: that need not be made up."""

    def __init__(self, events: list[inotify.Event], wd: int) -> None:
        self.appeared: set[str] = set()
        self.written: set[str] = set()
        gone: set[str] = set()
        for own, mask, _, name in events:
            if own != wd:
                continue
            if mask & GONE:
                gone.add(name)
            elif mask & APPEARED and name not in gone:
                self.appeared.add(name)
            elif mask & inotify.MODIFY:
                self.written.add(name)


def _is_same(path: str, other: str) -> bool:
    """Whether two paths lead to one folder, as those of one mounted twice do."""
    try:
        return os.path.samestat(os.lstat(path), os.lstat(other))
    except OSError:
        return False


def _list_folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
