"""What runs between clients and one sandbox, so that all of it can be cut at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from sandlot_server.proxy.dialing import dial_sandbox, is_agent_port
from sandlot_server.proxy.directory import Endpoint
from sandlot_server.proxy.upstream import Lane

AGENT_KEEP_S: Final = 60.0
"""The agent never closes an idle connection."""
SERVICE_KEEP_S: Final = 1.0


class Cuttable(Protocol):
    """Something in flight."""

    def cut(self) -> None:
        """The sandbox has ended: the client must not take what it has so far for complete."""


class Traffic:
    """One sandbox's lanes and what is in flight."""

    __slots__ = ("_buffer_bytes", "_clock", "_endpoint", "_lanes", "active")

    def __init__(self, clock: Callable[[], float], buffer_bytes: int) -> None:
        self._clock = clock
        self._buffer_bytes = buffer_bytes
        self._endpoint: Endpoint | None = None
        self._lanes: dict[int, Lane] = {}
        self.active: set[Cuttable] = set()

    def lane(self, endpoint: Endpoint, port: int) -> Lane:
        """Return the way to a port. Connections made under another endpoint are dropped."""
        if endpoint is not self._endpoint and endpoint != self._endpoint:
            self._drain()
            self._endpoint = endpoint
        lane = self._lanes.get(port)
        if lane is None:
            lane = self._lanes[port] = self._new_lane(endpoint, port)
        return lane

    def sweep(self) -> bool:
        """Close connections that were idle for too long; return whether anything is left."""
        for port in [port for port, lane in self._lanes.items() if not lane.sweep()]:
            if not self.active:
                del self._lanes[port]
        return bool(self._lanes or self.active)

    def cut(self) -> int:
        """Cut everything; return how much was in flight."""
        self._drain()
        active = list(self.active)
        for one in active:
            one.cut()
        return len(active)

    def _drain(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    def _new_lane(self, endpoint: Endpoint, port: int) -> Lane:
        is_agent = is_agent_port(endpoint, port)
        return Lane(
            lambda: dial_sandbox(endpoint, port, self._buffer_bytes),
            self._clock,
            is_trusted=is_agent,
            keep_s=AGENT_KEEP_S if is_agent else SERVICE_KEEP_S,
        )
