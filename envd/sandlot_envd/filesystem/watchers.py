"""The RPC methods of watching: a stream of changes, or a watcher that is asked for them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator

from sandlot_envd.codec import Message
from sandlot_envd.errors import BadRequest, NotFound, ResourceExhausted, translate
from sandlot_envd.fields import read_flag, read_text
from sandlot_envd.filesystem.entries import describe_briefly, show
from sandlot_envd.filesystem.inbox import Change
from sandlot_envd.filesystem.inotify import explain
from sandlot_envd.filesystem.mounts import find_network_filesystem
from sandlot_envd.filesystem.tree import Tree
from sandlot_envd.filesystem.watch import Watch
from sandlot_envd.rpc import Call

MAX_WATCHERS = 1000
"""Watchers that are asked for their changes: nothing but RemoveWatcher ends one."""


class Watchers:
    """One method for each RPC."""

    def __init__(self) -> None:
        self._watch = Watch()
        self._by_id: dict[str, Tree] = {}

    async def watch_dir(self, call: Call, path: str, message: Message) -> AsyncGenerator[Message, None]:
        """Stream what changes in a folder, from the moment of the start event."""
        tree = _plan(path, message)
        await self._watch.add(tree)
        try:
            yield {"start": {}}
            while True:
                await tree.inbox.wait(call.state.clock, call.keepalive_s)
                changes = tree.inbox.take()
                for change in changes:
                    yield {"filesystem": _describe(change, call)}
                if (error := tree.inbox.take_error()) is not None:
                    raise error
                if not changes:
                    yield {"keepalive": {}}
        finally:
            self._watch.remove(tree)

    async def create_watcher(self, call: Call, path: str, message: Message) -> Message:
        """Watch a folder until RemoveWatcher, whoever goes away meanwhile."""
        if len(self._by_id) >= MAX_WATCHERS:
            raise ResourceExhausted(f"there are {MAX_WATCHERS} watchers already: remove those that are not needed")
        tree = _plan(path, message)
        await self._watch.add(tree)
        watcher_id = f"w{os.urandom(10).hex()}"
        self._by_id[watcher_id] = tree
        return {"watcherId": watcher_id}

    async def get_watcher_events(self, call: Call, message: Message) -> Message:
        """Return what has changed since the last call, all that happened before this one included.

        Raises ResourceExhausted, once, when changes were lost; what waited is dropped then, and what comes later is
        complete again: the client has to look at the folder itself.
        """
        tree = self._find(message)
        self._watch.drain()
        changes = tree.inbox.take()
        if (error := tree.inbox.take_error()) is not None:
            await self._recover(tree)
            raise error
        return {"events": [_describe(change, call) for change in changes]}

    async def _recover(self, tree: Tree) -> None:
        """Watch the folders whose creation was among the lost changes."""
        try:
            await self._watch.cover(tree)
        except OSError as error:
            tree.inbox.fail(explain(error, tree.root))

    async def remove_watcher(self, call: Call, message: Message) -> Message:
        """End a watcher."""
        self._watch.remove(self._find(message))
        del self._by_id[read_text(message, "watcherId")]
        return {}

    def _find(self, message: Message) -> Tree:
        watcher_id = read_text(message, "watcherId")
        tree = self._by_id.get(watcher_id)
        if tree is None:
            raise NotFound(f"watcher with id {watcher_id} not found")
        return tree


def _plan(path: str, message: Message) -> Tree:
    """Return what a request wants watched; raises AgentError for what cannot be."""
    tree = Tree(path, read_flag(message, "recursive"), read_flag(message, "includeEntry"))
    try:
        if not os.path.isdir(path):
            os.stat(path)
            raise BadRequest(f"path {path} not a directory")
        network = None if read_flag(message, "allowNetworkMounts") else find_network_filesystem(path)
    except FileNotFoundError as error:
        raise NotFound(f"path {path} not found") from error
    except OSError as error:
        raise translate(error, f"cannot watch {path}") from error
    if network is not None:
        raise BadRequest(f"cannot watch path on network filesystem ({network}): {path}")
    return tree


def _describe(change: Change, call: Call) -> Message:
    name, kind, entry = change
    event: Message = {"name": show(name), "type": kind}
    if entry is not None:
        event["entry"] = describe_briefly(entry) if call.is_legacy else entry
    return event
