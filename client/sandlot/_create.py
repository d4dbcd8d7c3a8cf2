"""The request that makes a sandbox."""

from __future__ import annotations

import re
from typing import Any

from .exceptions import InvalidArgumentException
from .lifecycle import SandboxLifecycle, build_lifecycle
from .network import SandboxIamOpts, SandboxNetworkOpts, build_iam, build_network

_IDEMPOTENCY_KEY = re.compile(r"[a-z0-9-]{1,255}")


def build_create_request(
    template: str,
    timeout: int | None,
    metadata: dict[str, str] | None,
    envs: dict[str, str] | None,
    allow_internet_access: bool | None,
    mcp: Any,
    network: SandboxNetworkOpts | None,
    iam: SandboxIamOpts | None,
    lifecycle: SandboxLifecycle | None,
    volume_mounts: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the body of the request; what the API's own default decides is left out."""
    body = {
        "templateID": template,
        "timeout": timeout,
        "metadata": metadata or {},
        "envVars": envs or {},
        "allow_internet_access": False if allow_internet_access is False else None,
        "mcp": mcp or None,
        "network": None if network is None else build_network(network, iam),
        "iam": build_iam(iam),
        "volumeMounts": _build_mounts(volume_mounts),
        **build_lifecycle(lifecycle),
    }
    return {name: value for name, value in body.items() if value is not None}


def _build_mounts(mounts: dict[str, Any] | None) -> list[dict[str, str]] | None:
    """Return the mounts of volumes, which are given by name or as an object that has one."""
    if not mounts:
        return None
    return [{"name": str(getattr(volume, "name", volume)), "path": path} for path, volume in mounts.items()]


def check_idempotency_key(key: str | None) -> dict[str, str]:
    """Return the header with the key. Raises InvalidArgumentException for one that the API refuses."""
    if key is None:
        return {}
    if not isinstance(key, str) or not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidArgumentException("idempotency_key must be 1 to 255 lowercase letters, digits or hyphens")
    return {"Idempotency-Key": key}
