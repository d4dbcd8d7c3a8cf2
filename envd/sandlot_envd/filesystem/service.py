"""The RPC methods of filesystem.Filesystem. They act as root; the user decides on `~` and on who owns what is made."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sandlot_envd import disk
from sandlot_envd.codec import Message
from sandlot_envd.errors import AlreadyExists, BadRequest, FailedPrecondition, Internal, NotFound, translate
from sandlot_envd.fields import read_number, read_text
from sandlot_envd.filesystem.entries import Entry, describe, describe_briefly
from sandlot_envd.filesystem.folders import make_folders, walk
from sandlot_envd.filesystem.removal import remove_tree
from sandlot_envd.paths import resolve
from sandlot_envd.rpc import Call, Service
from sandlot_envd.state import AgentState
from sandlot_envd.users import Names

if TYPE_CHECKING:
    from sandlot_envd.filesystem.watchers import Watchers


def build(state: AgentState) -> Service:
    """Return the service."""
    service = Service("filesystem.Filesystem")
    methods = {"Stat": stat, "MakeDir": make_dir, "Move": move, "ListDir": list_dir, "Remove": remove}
    watching = Watching()
    service.unary = {
        **methods,
        "CreateWatcher": watching.create_watcher,
        "GetWatcherEvents": watching.get_watcher_events,
        "RemoveWatcher": watching.remove_watcher,
    }
    service.server_stream = {"WatchDir": watching.watch_dir}
    return service


class Watching:
    """The methods of watching. What they need is loaded with the first watcher: most sandboxes have none."""

    def __init__(self) -> None:
        self._loaded: Watchers | None = None

    @property
    def _watchers(self) -> Watchers:
        if self._loaded is None:
            from sandlot_envd.filesystem.watchers import Watchers

            self._loaded = Watchers()
        return self._loaded

    async def watch_dir(self, call: Call, message: Message) -> AsyncGenerator[Message, None]:
        """Stream what changes in a folder."""
        changes = self._watchers.watch_dir(call, read_path(call, message), message)
        try:
            async for change in changes:
                yield change
        finally:
            await changes.aclose()

    async def create_watcher(self, call: Call, message: Message) -> Message:
        """Watch a folder until RemoveWatcher."""
        return await self._watchers.create_watcher(call, read_path(call, message), message)

    async def get_watcher_events(self, call: Call, message: Message) -> Message:
        """Return what has changed since the last call."""
        return await self._watchers.get_watcher_events(call, message)

    async def remove_watcher(self, call: Call, message: Message) -> Message:
        """End a watcher."""
        return await self._watchers.remove_watcher(call, message)


async def stat(call: Call, message: Message) -> Message:
    """Describe one entry."""
    path = read_path(call, message)
    with _telling(path, "file not found"):
        return {"entry": _describe(call, path)}


async def list_dir(call: Call, message: Message) -> Message:
    """List a folder to some depth, in lexical depth-first order."""
    path = read_path(call, message)
    depth = read_number(message, "depth") or 1
    return {"entries": await disk.work(_list, call, path, depth)}


def _list(call: Call, path: str, depth: int) -> list[Entry]:
    names = Names()
    with _telling(path, "path not found"):
        real = os.path.realpath(path, strict=True)
        if not os.path.isdir(real):
            raise BadRequest(f"path is not a directory: {path}")
        shown = os.path.normpath("/" + path.lstrip("/"))  # normpath alone keeps two slashes at the start
        entries = [_describe_found(real, shown, name, names) for name in walk(real, depth)]
    present = [entry for entry in entries if entry is not None]
    return [describe_briefly(entry) for entry in present] if call.is_legacy else present


def _describe_found(real: str, shown: str, name: str, names: Names) -> Entry | None:
    """Describe under the name that the client knows the folder by; None for what has vanished."""
    try:
        return describe(os.path.join(real, name), names, os.path.join(shown, name))
    except OSError:
        return None


async def make_dir(call: Call, message: Message) -> Message:
    """Make a folder and what is missing above it."""
    path = read_path(call, message)
    if os.path.isdir(path):
        raise AlreadyExists(f"directory already exists: {path}")
    if os.path.exists(path):
        raise BadRequest(f"path already exists but it is not a directory: {path}")
    with _telling(path, "directory not found"):
        try:
            make_folders(path, call.find_user())
        except NotADirectoryError as error:
            raise Internal(f"error creating directory: path is a file: {error.filename}") from error
        return {"entry": _describe(call, path)}


async def move(call: Call, message: Message) -> Message:
    """Rename, making missing folders above the destination; an existing file there is replaced."""
    source, destination = read_path(call, message, "source"), read_path(call, message, "destination")
    with _telling(source, "source file not found"):
        os.lstat(source)
    with _telling(destination, "destination not found"):
        make_folders(os.path.dirname(destination), call.find_user())
        try:
            os.rename(source, destination)
        except FileNotFoundError as error:
            raise NotFound(f"source file not found: {source}") from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise
            raise Internal(f"error renaming: {error.strerror}") from error
        return {"entry": _describe(call, destination)}


async def remove(call: Call, message: Message) -> Message:
    """Remove a file or a whole folder; what is not there counts as removed."""
    path = read_path(call, message)
    with _telling(path, "error removing file or directory"):
        await disk.work(remove_tree, path)
    return {}


def read_path(call: Call, message: Message, name: str = "path") -> str:
    """Return a path of a request, resolved. Raises BadRequest."""
    return resolve(read_text(message, name), call.find_user(), call.state.default_workdir)


def _describe(call: Call, path: str) -> Entry:
    entry = describe(path, Names())
    return describe_briefly(entry) if call.is_legacy else entry


@contextmanager
def _telling(path: str, not_found: str) -> Iterator[None]:
    """Turn the operating system's errors into the agent's; below a file, too, nothing is found."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{not_found}: {path}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FailedPrecondition(f"cyclic symlink or chain of too many: {path}") from error
        raise translate(error, f"error at {path}") from error
