"""What is asked of the agent to watch a directory."""

from __future__ import annotations

from ._frames import Message
from ._versions import RECURSIVE_WATCH, WATCH_ENTRY, WATCH_NETWORK_MOUNTS, EnvdVersion, require


def build_watch_request(
    version: EnvdVersion, path: str, recursive: bool, include_entry: bool, allow_network_mounts: bool
) -> Message:
    """Return the request of a watch. Raises TemplateException for what the agent cannot do yet."""
    request: Message = {"path": path, "recursive": recursive}
    if recursive:
        require(version, RECURSIVE_WATCH, "watching recursively")
    if include_entry:
        require(version, WATCH_ENTRY, "include_entry")
        request["includeEntry"] = True
    if allow_network_mounts:
        require(version, WATCH_NETWORK_MOUNTS, "allow_network_mounts")
        request["allowNetworkMounts"] = True
    return request
