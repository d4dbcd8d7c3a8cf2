"""Watching folders: one inotify instance for the whole agent, made for the first watcher and closed after the last.

A folder has one watch descriptor however many clients watch it; `_members` tells who they are and how each of them
calls the folder. Folders that appear in a recursively watched one are watched as soon as their creation is read. What
was put into them before that is found by a look into them, and told as if it had been seen (`_adopt`).
"""

from __future__ import annotations

import asyncio
import os
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
        self._going: dict[tuple[int | None, str], int] = {}
        """How many events of the backlog tell that a folder is gone, by its parent's watch and its name."""
        self._names: Names | None = None

    # -- who watches what

    async def add(self, tree: Tree) -> None:
        """Begin to watch; everything that changes after the return is told. Raises AgentError."""
        try:
            self._join(self._open().add(tree.root), {tree: ""})
            self._trees.add(tree)
            await self.cover(tree)
        except OSError as error:
            self.remove(tree)
            raise inotify.explain(error, tree.root) from error
        except BaseException:
            self.remove(tree)
            raise

    def _open(self) -> inotify.Inotify:
        if self._inotify is None:
            self._inotify = inotify.Inotify()
            asyncio.get_running_loop().add_reader(self._inotify.fd, self._on_readable)
        return self._inotify

    def remove(self, tree: Tree) -> None:
        """Stop watching for one client; the last one closes the instance, of which the host has few."""
        self._trees.discard(tree)
        self._leave(tree, tuple(tree.wds))
        if self._inotify is not None and not self._trees:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None
            self._backlog.clear()
            self._going.clear()
            self._members.clear()

    def _join(self, wd: int, members: Members) -> Members:
        """Let `members` watch what is watched by `wd`; returns those to whom it is new, under this name at least.

        One that had another name has been moved there, from where the kernel will tell, to where nobody watched yet.
        """
        known = self._members.setdefault(wd, {})
        new: Members = {}
        for tree, name in members.items():
            if tree in known and (known[tree] == name or _is_same(tree.locate(name), tree.locate(known[tree]))):
                continue
            tree.wds.add(wd)
            self._call(tree, wd, name)
            new[tree] = name
        return new

    def _call(self, tree: Tree, wd: int, name: str) -> None:
        """Call a folder by a name from now on."""
        before = self._members[wd].get(tree)
        if before is not None and tree.folders.get(before) == wd:
            del tree.folders[before]
        self._members[wd][tree] = name
        tree.folders[name] = wd

    def _leave(self, tree: Tree, wds: Iterable[int]) -> None:
        for wd in wds:
            tree.wds.discard(wd)
            members = self._members.get(wd, {})
            name = members.pop(tree, None)
            if name is not None and tree.folders.get(name) == wd:
                del tree.folders[name]
            self._drop_unused(wd)

    def _drop_unused(self, wd: int) -> None:
        if not self._members.get(wd):
            self._members.pop(wd, None)
            if self._inotify is not None:
                self._inotify.remove(wd)

    def _list_below(self, tree: Tree, folder: str) -> list[int]:
        """Return the watch descriptors of a folder and of all in it."""
        return [wd for wd in tree.wds if f"{self._members[wd][tree]}/".startswith(f"{folder}/")]

    def _rename(self, tree: Tree, before: str, after: str) -> bool:
        """Call a folder and all in it by their new names; returns whether any was known."""
        wds = self._list_below(tree, before)
        for wd in wds:
            self._call(tree, wd, after + self._members[wd][tree][len(before) :])
        return bool(wds)

    async def cover(self, tree: Tree) -> None:
        """Watch every folder below a recursive tree's root; the kernel tells of those that appear meanwhile.

        Raises OSError when a limit is reached.
        """
        waiting = [""] if tree.recursive else []
        count = 0
        while waiting:
            folder = waiting.pop()
            try:
                look = self._enter(tree, folder)
            except (FileNotFoundError, NotADirectoryError):
                tree.miss(folder)
                continue
            if look.is_certain:
                self._join(look.wd, {tree: folder})
                waiting += [join(folder, entry.name) for entry in look.found if entry.is_dir(follow_symlinks=False)]
            count += 1
            if count % ALL_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _enter(self, tree: Tree, folder: str) -> Look:
        """Put a folder under watch and look into it. Whether anybody watches it is not decided by that.

        Raises OSError.
        """
        assert self._inotify is not None
        path = tree.locate(folder)
        # What the client itself names may be a link; what is found below it is not followed.
        wd = self._inotify.add(path, inotify.DONT_FOLLOW if folder else 0)
        try:
            with os.scandir(path) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            self._drop_unused(wd)
            raise
        # What the look saw has been queued by the kernel by now, if it appeared when the folder was watched.
        look = Look(wd, found, self._read_waiting())
        look.is_certain = not self._is_in_doubt(tree, folder)
        if not look.is_certain:
            tree.miss(folder)
            self._drop_unused(wd)
        return look

    def _is_in_doubt(self, tree: Tree, folder: str) -> bool:
        """Whether a folder, or one above it, is about to be told as gone: then another may be in its place by now."""
        parent = ""
        for name in folder.split("/") if folder else ():
            if (tree.folders.get(parent), name) in self._going:
                return True
            parent = join(parent, name)
        return False

    # -- what happens

    def _on_readable(self) -> None:
        assert self._inotify is not None
        self._queue(self._inotify.read())
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
        self._queue(events)
        return events

    def _queue(self, events: list[inotify.Event]) -> None:
        self._backlog.extend(events)
        for wd, mask, _, name in events:
            if mask & GONE and mask & inotify.ISDIR:
                self._going[wd, name] = self._going.get((wd, name), 0) + 1

    def _work_off(self) -> None:
        self._names = None
        while self._backlog:
            event = self._backlog.popleft()
            wd, mask, _, name = event
            if mask & GONE and mask & inotify.ISDIR:
                self._going[wd, name] -= 1
                if not self._going[wd, name]:
                    del self._going[wd, name]
            self._dispatch(event)

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
            for tree in tuple(members):
                self._leave(tree, (wd,))
        elif not name:
            for tree, folder in tuple(members.items()):
                self._tell_of_itself(tree, folder, wd, mask)
        else:
            for tree, folder in members.items():
                tree.tell_all(join(folder, name), mask, self._read_names)
            if mask & inotify.ISDIR:
                self._follow(members, event)

    def _tell_of_itself(self, tree: Tree, folder: str, wd: int, mask: int) -> None:
        """Something happened to a watched folder. For those below the root their parent has told it."""
        if folder == "":
            tree.tell_all("", mask, self._read_names)
            if mask & inotify.MOVE_SELF:
                self._leave(tree, tuple(tree.wds))  # nobody knows where to; E2B, too, tells nothing more
        elif mask & inotify.MOVE_SELF and tree.abandon_move(wd) == folder:
            # The last of the three events of a move: the second did not come, so it has left the tree.
            self._leave(tree, self._list_below(tree, folder))

    def _follow(self, members: Members, event: inotify.Event) -> None:
        """Keep up with a folder that has come or gone, for those who watch its parent recursively."""
        _, mask, cookie, name = event
        new: Members = {}
        for tree, folder in tuple(members.items()):
            path = join(folder, name)
            if not tree.recursive:
                continue
            if mask & inotify.MOVED_FROM:
                tree.begin_move(cookie, path)
            elif mask & inotify.DELETE:
                tree.take_missed(path)
            elif mask & APPEARED:
                before = tree.end_move(cookie)
                if before is None or not self._rename(tree, before, path):
                    new[tree] = path
                else:
                    for missed in tree.take_missed(before):
                        self._adopt({tree: join(path, missed)})
        if new:
            self._adopt(new)

    def _adopt(self, members: Members) -> None:
        """Watch a folder and those in it, and tell what was in them before they were watched."""
        waiting = [members]
        while waiting:
            members = waiting.pop()
            tree, folder = next(iter(members.items()))
            try:
                look = self._enter(tree, folder)
            except (FileNotFoundError, NotADirectoryError):
                for one, name in members.items():
                    one.miss(name)
            except OSError as error:
                for one in members:
                    one.inbox.fail(inotify.explain(error, tree.locate(folder)))
            else:
                if look.is_certain:
                    waiting += self._tell_found(look, self._join(look.wd, members))

    def _tell_found(self, look: Look, members: Members) -> list[Members]:
        """Tell what was in a folder before it was watched, as of new entries; return the folders among that."""
        folders = []
        for entry in look.found if members else ():
            if entry.name in look.appeared:
                continue
            inside = {tree: join(folder, entry.name) for tree, folder in members.items()}
            for tree, name in inside.items():
                tree.tell(name, CREATED, self._read_names)
                if entry.name not in look.written and _has_content(entry):
                    tree.tell(name, WRITTEN, self._read_names)
            if entry.is_dir(follow_symlinks=False):
                folders.append(inside)
        return folders


class Look:
    """What was found in a folder when it was put under watch, and which of it the kernel itself tells."""

    def __init__(self, wd: int, found: list[os.DirEntry[str]], events: list[inotify.Event]) -> None:
        self.wd = wd
        self.found = found
        self.is_certain = True
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


def _has_content(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size > 0
    except OSError:
        return False  # gone again: the kernel tells


def _is_same(path: str, other: str) -> bool:
    """Whether two paths lead to one folder, as those of one mounted twice do."""
    try:
        return os.path.samestat(os.lstat(path), os.lstat(other))
    except OSError:
        return False
