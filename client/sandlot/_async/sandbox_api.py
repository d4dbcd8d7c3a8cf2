"""What can be done with a sandbox by its id alone."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any, Unpack

from sandlot._async.api import Answer, Api
from sandlot._async.paginator import AsyncSandboxPaginator, AsyncSnapshotPaginator
from sandlot._both import both
from sandlot._errors import explain_api_status
from sandlot._http import quote
from sandlot._sandbox_base import SandboxBase
from sandlot._versions import METRICS, require
from sandlot._wire import (
    CreatedSandbox,
    parse_created,
    parse_info,
    parse_list,
    parse_metrics,
    parse_snapshot,
)
from sandlot.config import ApiParams, ConnectionConfig
from sandlot.exceptions import (
    InvalidArgumentException,
    NotFoundException,
    SandboxException,
    SandboxNotFoundException,
)
from sandlot.lifecycle import SandboxOnResume, SnapshotMode, resolve_memory, resolve_resume
from sandlot.models import SandboxInfo, SandboxListOrder, SandboxMetrics, SandboxQuery, SnapshotInfo
from sandlot.network import SandboxNetworkUpdate, build_network_update

MAX_FORKS = 20


class SandboxApi(SandboxBase):
    """The API's sandbox routes."""

    @classmethod
    def list(
        cls,
        query: SandboxQuery | None = None,
        limit: int | None = None,
        next_token: str | None = None,
        order: SandboxListOrder | None = None,
        **opts: Unpack[ApiParams],
    ) -> AsyncSandboxPaginator:
        """List sandboxes, running and paused, newest first. `limit`: of one page."""
        return AsyncSandboxPaginator(query, limit, next_token, order, **cls._resolve(opts))

    @classmethod
    async def _call(
        cls,
        sandbox_id: str,
        method: str,
        route: str,
        body: Any,
        opts: ApiParams,
        absorb: tuple[int, ...] = (),
        query: dict[str, str] | None = None,
    ) -> Answer:
        """Call a route of one sandbox; a 404 raises SandboxNotFoundException unless absorbed."""
        config = ConnectionConfig(**cls._resolve(opts))
        path = f"/sandboxes/{quote(sandbox_id)}{route}"
        answer = await Api(config).call(method, path, body, query, absorb=(404, *absorb))
        if answer.status == 404 and 404 not in absorb:
            raise SandboxNotFoundException(f"Sandbox {sandbox_id} not found: {answer.message}", status_code=404)
        return answer

    @classmethod
    async def _kill_by_id(cls, sandbox_id: str, **opts: Unpack[ApiParams]) -> bool:
        """Kill a sandbox, running or paused; False when there is none with this id."""
        if cls._is_debug(opts):
            return True
        answer = await cls._call(sandbox_id, "DELETE", "", None, opts, absorb=(404,))
        return answer.status != 404

    async def _kill(self, **opts: Unpack[ApiParams]) -> bool:
        """Kill the sandbox, running or paused; False when it is gone."""
        return await self._kill_by_id(self._sandbox_id, **self._config.get_api_params(**opts))

    kill = both(_kill, _kill_by_id)

    @classmethod
    def _is_debug(cls, opts: ApiParams) -> bool:
        return ConnectionConfig(**cls._resolve(opts)).debug

    @classmethod
    async def _set_timeout_by_id(cls, sandbox_id: str, timeout: int, **opts: Unpack[ApiParams]) -> None:
        """Let a running sandbox end `timeout` seconds from now, sooner or later than before."""
        if not cls._is_debug(opts):
            await cls._call(sandbox_id, "POST", "/timeout", {"timeout": timeout}, opts)

    async def _set_timeout(self, timeout: int, **opts: Unpack[ApiParams]) -> None:
        """Let the sandbox end `timeout` seconds from now, sooner or later than before."""
        await self._set_timeout_by_id(self._sandbox_id, timeout, **self._config.get_api_params(**opts))

    set_timeout = both(_set_timeout, _set_timeout_by_id)

    @classmethod
    async def _get_info_by_id(cls, sandbox_id: str, **opts: Unpack[ApiParams]) -> SandboxInfo:
        """Tell about a sandbox."""
        answer = await cls._call(sandbox_id, "GET", "", None, opts)
        return answer.parse(parse_info, "get_info")

    async def _get_info(self, **opts: Unpack[ApiParams]) -> SandboxInfo:
        """Tell about the sandbox."""
        return await self._get_info_by_id(self._sandbox_id, **self._config.get_api_params(**opts))

    get_info = both(_get_info, _get_info_by_id)

    @classmethod
    async def _get_metrics_by_id(
        cls,
        sandbox_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        **opts: Unpack[ApiParams],
    ) -> builtins.list[SandboxMetrics]:
        """Return the use of resources between two times, by default all that is known."""
        if cls._is_debug(opts):
            return []
        times = {"start": start, "end": end}
        query = {name: str(int(time.timestamp())) for name, time in times.items() if time}
        answer = await cls._call(sandbox_id, "GET", "/metrics", None, opts, query=query)
        return answer.parse(parse_list(parse_metrics), "get_metrics")

    async def _get_metrics(
        self, start: datetime | None = None, end: datetime | None = None, **opts: Unpack[ApiParams]
    ) -> builtins.list[SandboxMetrics]:
        """Return the sandbox's use of resources between two times, by default all that is known."""
        require(self._envd_version, METRICS, "get_metrics")
        return await self._get_metrics_by_id(self._sandbox_id, start, end, **self._config.get_api_params(**opts))

    get_metrics = both(_get_metrics, _get_metrics_by_id)

    @classmethod
    async def _update_network_by_id(
        cls, sandbox_id: str, network: SandboxNetworkUpdate, **opts: Unpack[ApiParams]
    ) -> None:
        """Replace what a running sandbox may reach; what `network` leaves out is cleared."""
        await cls._call(sandbox_id, "PUT", "/network", build_network_update(network), opts)

    async def _update_network(self, network: SandboxNetworkUpdate, **opts: Unpack[ApiParams]) -> None:
        """Replace what the sandbox may reach; what `network` leaves out is cleared."""
        await self._update_network_by_id(self._sandbox_id, network, **self._config.get_api_params(**opts))

    update_network = both(_update_network, _update_network_by_id)

    @classmethod
    async def _pause_by_id(
        cls,
        sandbox_id: str,
        keep_memory: bool | None = None,
        *,
        mode: SnapshotMode | None = None,
        strict: bool = False,
        **opts: Unpack[ApiParams],
    ) -> bool:
        """Pause a sandbox; False when it is paused already."""
        body = {"memory": resolve_memory("mode", mode, keep_memory), "requireHealthyGuest": strict or None}
        answer = await cls._call(sandbox_id, "POST", "/pause", drop_unset(body), opts, absorb=(409,))
        if answer.status == 409 and "already paused" not in answer.message:
            raise explain_api_status(409, answer.message)
        return answer.status != 409

    async def _pause(
        self,
        keep_memory: bool | None = None,
        *,
        mode: SnapshotMode | None = None,
        strict: bool = False,
        **opts: Unpack[ApiParams],
    ) -> bool:
        """Pause the sandbox; False when it is paused already. `connect()` resumes it.

        `mode`: "filesystem" keeps the files alone; `keep_memory` is its deprecated form.
        `strict`: fail when the sandbox's agent does not answer.
        """
        params = self._config.get_api_params(**opts)
        return await self._pause_by_id(self._sandbox_id, keep_memory, mode=mode, strict=strict, **params)

    pause = both(_pause, _pause_by_id)
    beta_pause = both(_pause, _pause_by_id)

    @classmethod
    async def _create_snapshot_by_id(
        cls,
        sandbox_id: str,
        name: str | None = None,
        *,
        mode: SnapshotMode | None = None,
        **opts: Unpack[ApiParams],
    ) -> SnapshotInfo:
        """Take a snapshot of a sandbox, which goes on."""
        body = drop_unset({"name": name or None, "memory": resolve_memory("mode", mode)})
        answer = await cls._call(sandbox_id, "POST", "/snapshots", body, opts)
        return answer.parse(parse_snapshot, "create_snapshot")

    async def _create_snapshot(
        self, name: str | None = None, *, mode: SnapshotMode | None = None, **opts: Unpack[ApiParams]
    ) -> SnapshotInfo:
        """Take a snapshot of the sandbox, which goes on; `create(snapshot_id)` makes sandboxes from it.

        `name`: taken again, it names the new snapshot. `mode`: "filesystem" keeps the files alone.
        """
        params = self._config.get_api_params(**opts)
        return await self._create_snapshot_by_id(self._sandbox_id, name, mode=mode, **params)

    create_snapshot = both(_create_snapshot, _create_snapshot_by_id)

    @classmethod
    def _list_snapshots_by_id(
        cls,
        sandbox_id: str | None = None,
        limit: int | None = None,
        next_token: str | None = None,
        name: str | None = None,
        **opts: Unpack[ApiParams],
    ) -> AsyncSnapshotPaginator:
        """List snapshots: of one sandbox, of one name (with or without tag), or all. `limit`: of one page."""
        return AsyncSnapshotPaginator(sandbox_id, limit, next_token, name, **cls._resolve(opts))

    def _list_snapshots(
        self,
        limit: int | None = None,
        next_token: str | None = None,
        name: str | None = None,
        **opts: Unpack[ApiParams],
    ) -> AsyncSnapshotPaginator:
        """List the snapshots of the sandbox. `limit`: of one page."""
        params = self._config.get_api_params(**opts)
        return AsyncSnapshotPaginator(self._sandbox_id, limit, next_token, name, **params)

    list_snapshots = both(_list_snapshots, _list_snapshots_by_id)

    @classmethod
    async def delete_snapshot(cls, snapshot_id: str, **opts: Unpack[ApiParams]) -> bool:
        """Delete a snapshot; False when there is none with this id."""
        config = ConnectionConfig(**cls._resolve(opts))
        answer = await Api(config).call("DELETE", f"/templates/{quote(snapshot_id)}", absorb=(404,))
        return answer.status != 404

    @classmethod
    async def _connect_to(
        cls, sandbox_id: str, timeout: int | None, on_resume: SandboxOnResume, opts: ApiParams
    ) -> CreatedSandbox:
        config = ConnectionConfig(**cls._resolve(opts))
        body = drop_unset({"timeout": timeout, "memory": resolve_resume(on_resume)})
        path = f"/v2/sandboxes/{quote(sandbox_id)}/connect"
        answer = await Api(config).call("POST", path, body, absorb=(404,))
        if answer.status == 404:
            raise SandboxNotFoundException(f"Paused sandbox {sandbox_id} not found: {answer.message}", status_code=404)
        return answer.parse(parse_created, "connect")

    @classmethod
    async def _fork_from(
        cls, sandbox_id: str, timeout: int | None, count: int | None, opts: ApiParams
    ) -> builtins.list[CreatedSandbox | Exception]:
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_FORKS):
            raise InvalidArgumentException(f"count must be a whole number from 1 to {MAX_FORKS}, not {count!r}")
        body = drop_unset({"timeout": timeout, "count": count})
        answer = await cls._call(sandbox_id, "POST", "/fork", body, opts)
        return answer.parse(parse_list(parse_fork), "fork")


def parse_fork(wire: Any) -> CreatedSandbox | Exception:
    """Read one result of a fork: a sandbox, or why there is none."""
    error = wire.get("error")
    if not error and wire.get("sandbox"):
        return parse_created(wire["sandbox"])
    if not error:
        return SandboxException("Failed to start forked sandbox")
    if error["code"] == 404:
        return NotFoundException(f"404: {error['message']}")
    return explain_api_status(error["code"], error["message"])


def drop_unset(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the API's own default decides."""
    return {name: value for name, value in body.items() if value is not None}
