"""A watched directory, asked for its events."""

from __future__ import annotations

from sandlot._sync.envd import Envd
from sandlot._watch import build_watch_request
from sandlot._wire import parse_events
from sandlot.config import Username
from sandlot.exceptions import FileNotFoundException, SandboxException
from sandlot.models import FilesystemEvent


class WatchHandle:
    """A watched directory. The sandbox collects the events; `get_new_events()` fetches them."""

    def __init__(self, envd: Envd, watcher_id: str, user: Username | None) -> None:
        self._envd = envd
        self._watcher_id = watcher_id
        self._user = user
        self._closed = False

    def stop(self, request_timeout: float | None = None) -> None:
        """Stop watching; events not fetched yet are lost."""
        request = {"watcherId": self._watcher_id}
        self._envd.call("filesystem.Filesystem/RemoveWatcher", request, bool, self._user, request_timeout)
        self._closed = True

    def get_new_events(self, request_timeout: float | None = None) -> list[FilesystemEvent]:
        """Return the events since the last call, at first since the watch began."""
        if self._closed:
            raise SandboxException("The watcher is already stopped")
        request = {"watcherId": self._watcher_id}
        method = "filesystem.Filesystem/GetWatcherEvents"
        return self._envd.call(method, request, parse_events, self._user, request_timeout)


class Watching:
    """The part of the file system module that watches."""

    _envd: Envd

    def watch_dir(
        self,
        path: str,
        user: Username | None = None,
        request_timeout: float | None = None,
        recursive: bool = False,
        include_entry: bool = False,
        allow_network_mounts: bool = False,
    ) -> WatchHandle:
        """Watch a directory; the handle's `get_new_events()` tells what has happened in it."""
        request = build_watch_request(self._envd.version, path, recursive, include_entry, allow_network_mounts)
        method = "filesystem.Filesystem/CreateWatcher"
        watcher_id = self._envd.call(
            method, request, lambda answer: str(answer["watcherId"]), user, request_timeout, FileNotFoundException
        )
        return WatchHandle(self._envd, watcher_id, user)
