"""What the front door needs to know of sandboxes, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running sandbox is reached, and what a request to it must carry."""

    sandbox_id: str
    address: str
    agent_port: int
    control_token: str
    envd_token: str | None
    traffic_token: str | None
    mask_request_host: str | None = None
    https_ports: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class WakeRequest:
    """The part of a request that decides whether it may wake a paused sandbox."""

    port: int
    envd_token: str | None = None
    traffic_token: str | None = None


class Forbidden(Exception):
    """The request does not carry what it takes to wake this sandbox."""


class StillTransitioning(Exception):
    """The sandbox was not ready in time; trying again may help."""


class Directory(Protocol):
    """The sandboxes, as the front door looks them up."""

    def find(self, sandbox_id: str) -> Endpoint | None:
        """Return the endpoint of a running sandbox. In memory, no I/O."""

    async def wake(self, sandbox_id: str, request: WakeRequest) -> Endpoint | None:
        """Resume the sandbox when it is set to resume on traffic; None means that it was not found."""

    def find_by_signature(
        self, path: str, operation: str, username: str, expiration: int | None, signature: str
    ) -> Endpoint | None:
        """Return the endpoint of the running sandbox whose token made this file URL's signature."""
