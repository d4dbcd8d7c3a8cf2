"""What happens to a sandbox at its timeout and when it comes back: the options, and their form on the wire."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from .exceptions import InvalidArgumentException

SnapshotMode = Literal["full", "filesystem"]
"""What a pause or snapshot keeps: files and memory with all processes, or files alone."""

SandboxOnResume = Literal["restore", "reboot"]
"""How a paused sandbox comes back: with its processes, or started afresh from its files."""


class _Pause(TypedDict):
    action: Literal["pause"]


class SandboxOnTimeoutPause(_Pause, total=False):
    """Pause the sandbox at its timeout."""

    mode: SnapshotMode
    keep_memory: bool
    """Deprecated: `mode`."""


class SandboxOnTimeoutKill(TypedDict):
    """Kill the sandbox at its timeout."""

    action: Literal["kill"]


SandboxOnTimeout = Literal["pause", "kill"] | SandboxOnTimeoutPause | SandboxOnTimeoutKill


class _OnTimeout(TypedDict):
    on_timeout: SandboxOnTimeout


class SandboxLifecycle(_OnTimeout, total=False):
    """The option `lifecycle` of `create`."""

    auto_resume: bool
    """Whether a request to the paused sandbox resumes it; needs `on_timeout` to pause with memory."""


def resolve_memory(field: str, mode: str | None, keep_memory: bool | None = None) -> bool | None:
    """Return the API's `memory` flag, None to leave the choice to the API."""
    if mode is not None and keep_memory is not None:
        raise InvalidArgumentException(f"give {field} or the deprecated keep_memory, not both")
    if mode is None:
        return keep_memory
    if mode not in ("full", "filesystem"):
        raise InvalidArgumentException(f"{field} must be 'full' or 'filesystem', not {mode!r}")
    return mode == "full"


def resolve_resume(on_resume: str | None) -> bool | None:
    """Return the `memory` flag of a connect request, None to leave it out."""
    if on_resume not in (None, "restore", "reboot"):
        raise InvalidArgumentException(f"on_resume must be 'restore' or 'reboot', not {on_resume!r}")
    return False if on_resume == "reboot" else None


def build_lifecycle(lifecycle: SandboxLifecycle | None) -> dict[str, Any]:
    """Return the lifecycle fields of a create request. Raises InvalidArgumentException for what cannot be meant."""
    options: dict[str, Any] = dict(lifecycle or {})
    on_timeout = options.get("on_timeout")
    detail = on_timeout if isinstance(on_timeout, dict) else {"action": on_timeout}
    action = detail.get("action")
    if action not in ("pause", "kill") and on_timeout is not None:
        raise InvalidArgumentException(f"lifecycle: on_timeout must be 'pause' or 'kill', not {action!r}")
    if action != "pause" and (detail.keys() & {"mode", "keep_memory"}):
        raise InvalidArgumentException("lifecycle: mode is only for the on_timeout action 'pause'")
    memory = resolve_memory("on_timeout['mode']", detail.get("mode"), detail.get("keep_memory"))
    resume = options.get("auto_resume")
    if resume and (action != "pause" or memory is False):
        raise InvalidArgumentException("lifecycle: auto_resume needs on_timeout to pause, and to keep the memory")
    body = {
        "autoPause": None if action is None else action == "pause",
        "autoPauseMemory": memory,
        "autoResume": None if resume is None else {"enabled": resume},
    }
    return {name: value for name, value in body.items() if value is not None}
