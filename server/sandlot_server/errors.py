"""Everything that can go wrong in the server, as one tree.

SandlotError
├── InvalidRequest          400
├── Unauthorized            401
├── Forbidden               403
├── NotFound                404
│   ├── SandboxNotFound
│   └── TemplateNotFound
├── Conflict                409
├── TooLarge                413
├── KeyReused               422
├── CapacityExceeded        429
│   └── DiskFull
├── NotBuilt                501
├── BuildFailed             500
├── BundleError             400
├── StoreError              500
├── AgentError              500
│   └── CommandRefused      500
└── EngineError             500
    ├── EngineUnavailable   503
    ├── IsolationFailed     500
    ├── StuckContainer      500
    └── ContainerGone       500
"""

from __future__ import annotations

import inspect
from typing import ClassVar


class SandlotError(Exception):
    """Sandlot could not do this."""

    status: ClassVar[int] = 500
    """HTTP status that the API answers with."""
    retry: ClassVar[bool | None] = None
    """Value of the `Should-Retry` header; None leaves it out and the choice to the SDK."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(self.__doc__ or ""))


class InvalidRequest(SandlotError):
    """The request is not valid."""

    status = 400


class Unauthorized(SandlotError):
    """Invalid API key: `sandlot env` prints the one of this server."""

    status = 401


class Forbidden(SandlotError):
    """The credentials do not allow this."""

    status = 403


class NotFound(SandlotError):
    """There is no such thing."""

    status = 404


class SandboxNotFound(NotFound):
    """The sandbox does not exist, or no longer."""

    def __init__(self, sandbox_id: str) -> None:
        super().__init__(f"Sandbox \"{sandbox_id}\" doesn't exist or you don't have access to it")


class TemplateNotFound(NotFound):
    """The template does not exist."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"template '{reference}' not found")


class Conflict(SandlotError):
    """The sandbox is in a state that does not allow this."""

    status = 409


class TooLarge(SandlotError):
    """The request body is too large."""

    status = 413


class KeyReused(SandlotError):
    """This Idempotency-Key was used for another request."""

    status = 422


class CapacityExceeded(SandlotError):
    """This server runs as many sandboxes as its settings allow."""

    status = 429


class DiskFull(CapacityExceeded):
    """The engine's disk is nearly full."""

    retry = False


class NotBuilt(SandlotError):
    """A feature that this version of Sandlot does not have."""

    status = 501
    retry = False

    def __init__(self, feature: str) -> None:
        super().__init__(f"{feature} is not available in this version of Sandlot")


class BuildFailed(SandlotError):
    """A template could not be built; the message is for who wrote its steps."""

    def __init__(self, message: str, step: str | None = None) -> None:
        super().__init__(message)
        self.step = step


class BundleError(SandlotError):
    """The bundle cannot be written or read."""

    status = 400


class StoreError(SandlotError):
    """The database of this installation cannot be used."""

    retry = False


class AgentError(SandlotError):
    """The agent in the sandbox does not answer as it should."""


class CommandRefused(AgentError):
    """The agent did not start a command; the message begins with the RPC's error code."""


class EngineError(SandlotError):
    """The container engine refused or failed."""


class EngineUnavailable(EngineError):
    """The container engine does not answer."""

    status = 503


class IsolationFailed(EngineError):
    """Sandboxes cannot be kept apart on this host, so none is started."""

    retry = False


class StuckContainer(EngineError):
    """The engine cannot start this container any more; its files are there all the same."""


class ContainerGone(EngineError):
    """The container does not exist any more, or has ended."""
