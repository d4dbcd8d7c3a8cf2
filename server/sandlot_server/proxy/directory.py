"""What the front door needs to know of sandboxes, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running sandbox is reached, and what a request to it must carry.

    Hand out the same object for as long as nothing in it changes: the door keeps connections by it.
    """

    sandbox_id: str
    address: str
    """IP that the agent answers on."""
    agent_port: int
    """Port that the agent listens on; requests for port 49983 go there."""
    control_token: str
    """Opens the agent's /tunnel."""
    envd_token: str | None
    traffic_token: str | None
    """Set when every port but the agent's wants this token."""
    mask_request_host: str | None = None
    """Host header for services, `${PORT}` standing for the port; None forwards the client's."""
    https_ports: frozenset[int] = frozenset()
    """Ports whose services speak TLS, with any certificate."""


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


class LimitReached(Exception):
    """No further sandbox may run now; the text says which limit."""


class Directory(Protocol):
    """The sandboxes, as the front door looks them up. Asked anew for every request."""

    def find(self, sandbox_id: str) -> Endpoint | None:
        """Return the endpoint of a running sandbox. In memory, no I/O."""

    def find_only(self) -> Endpoint | None:
        """Return the endpoint of the running sandbox when there is exactly one. In memory, no I/O."""

    async def wake(self, sandbox_id: str, request: WakeRequest) -> Endpoint | None:
        """Resume the sandbox when it is set to resume on traffic; None means that it was not found.

        Raises Forbidden, StillTransitioning or LimitReached. Cancelled when the client goes away.
        """

    def find_by_signature(
        self, path: str, operation: str, username: str, expiration: int | None, signature: str
    ) -> Endpoint | None:
        """Return the endpoint of the running sandbox whose token made this file URL's signature.

        An expired signature still names its sandbox: saying so is the agent's part.
        """
