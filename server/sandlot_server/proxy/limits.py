"""What the front door allows a client, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that keep one client from taking what belongs to all."""

    connections: int = 10_000
    """Client connections at once; more are told so and closed."""
    connections_per_sandbox: int = 2_000
    """Requests in flight to one sandbox at once; more are answered with 429."""
    head_s: float = 20.0
    """A request's head must be complete this long after its first byte."""
    first_byte_s: float = 60.0
    """A new connection must send its first byte within this time."""
    handshake_s: float = 10.0
    """A TLS handshake must be over after this time."""
    idle_s: float = 620.0
    """A connection is closed after so long without a request; longer than clients keep theirs."""
    api_body_s: float = 60.0
    """An API request's body must not pause for longer, nor any body whose request has its answer already."""
    linger_s: float = 20.0
    """Time for a client to take the last answer before its connection is cut."""
    buffer_bytes: int = 64 * 1024
    """Bytes that wait for a slow receiver before its sender is paused, each way."""


@dataclass(slots=True)
class Stats:
    """Counters since the start of the door; gauges where it says so."""

    connections: int = 0
    """Client connections now."""
    active: int = 0
    """Requests in flight now."""
    tunnels: int = 0
    """Upgraded connections now."""
    requests: int = 0
    refused: int = 0
    """Requests that the door answered itself."""
    bytes_in: int = 0
    """Body bytes from clients."""
    bytes_out: int = 0
    """Body bytes to clients."""
    statuses: list[int] = field(default_factory=lambda: [0] * 10)
    """Answers by the first digit of their status; under 0 those that never came."""
