"""The front door's view of the sandboxes."""

from __future__ import annotations

import asyncio
import hmac
from typing import cast

from sandlot_protocol.http import ENVD_PORT
from sandlot_protocol.signing import Operation, sign
from sandlot_server.errors import CapacityExceeded, SandboxNotFound, SandlotError
from sandlot_server.identity import Identity
from sandlot_server.proxy.directory import Endpoint, Forbidden, LimitReached, StillTransitioning, WakeRequest
from sandlot_server.registry import Entry, Registry
from sandlot_server.sandboxes import SandboxService

WAKE_S = 60


class SandboxDirectory:
    """Looks sandboxes up in the registry, and wakes those that resume on traffic."""

    def __init__(self, registry: Registry, service: SandboxService, identity: Identity) -> None:
        self._registry = registry
        self._service = service
        self._identity = identity

    def find(self, sandbox_id: str) -> Endpoint | None:
        """Return the endpoint of a running sandbox."""
        return self._registry.find_endpoint(sandbox_id)

    def find_by_signature(
        self, path: str, operation: str, username: str, expiration: int | None, signature: str
    ) -> Endpoint | None:
        """Return the endpoint whose token made the signature. One hash per running sandbox."""
        for entry in self._registry:
            endpoint = self._registry.find_endpoint(entry.sandbox.id)
            if endpoint is None or endpoint.envd_token is None:
                continue
            made = sign(path, cast(Operation, operation), username, endpoint.envd_token, expiration)
            if hmac.compare_digest(made.encode(), signature.encode()):
                return endpoint
        return None

    def find_only(self) -> Endpoint | None:
        """Return the endpoint of the one running sandbox, when there is exactly one."""
        found = (self._registry.find_endpoint(entry.sandbox.id) for entry in self._registry)
        endpoints = [endpoint for endpoint in found if endpoint is not None]
        return endpoints[0] if len(endpoints) == 1 else None

    async def wake(self, sandbox_id: str, request: WakeRequest) -> Endpoint | None:
        """Resume a sandbox that is paused with its memory and set to resume on traffic."""
        entry = self._registry.get(sandbox_id)
        if entry is None or not entry.sandbox.spec.lifecycle.auto_resume:
            return None
        self._check(entry, request)
        try:
            async with asyncio.timeout(WAKE_S):
                await self._service.wake(sandbox_id)
        except SandboxNotFound:
            return None
        except CapacityExceeded as error:
            raise LimitReached(str(error)) from error
        except (TimeoutError, SandlotError) as error:
            raise StillTransitioning from error
        return self.find(sandbox_id)

    def _check(self, entry: Entry, request: WakeRequest) -> None:
        """Only who may talk to the sandbox may wake it."""
        spec = entry.sandbox.spec
        if request.port == ENVD_PORT:
            token = self._identity.envd_token(entry.sandbox.id) if spec.secure else None
            given = request.envd_token
        else:
            private = spec.ingress is not None and not spec.ingress.allow_public_traffic
            token = self._identity.traffic_token(entry.sandbox.id) if private else None
            given = request.traffic_token
        if token is not None and not hmac.compare_digest(token.encode(), (given or "").encode()):
            raise Forbidden
