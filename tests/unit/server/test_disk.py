"""What sandboxes write, held against their limit, and a host whose disk fills up; over the memory runtime."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from sandlot_server.disk_limits import DiskLimits, Usage
from sandlot_server.errors import EngineError
from sandlot_server.history import LogQuery
from sandlot_server.host_disk import HostDisk
from sandlot_server.installation import Installation
from sandlot_server.journal import NO_SANDBOX
from sandlot_server.models import LogEntry, NewSandbox, SandboxState
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings

MIB = 1024 * 1024
LIMIT_MB = 160
GRACE_MB = 10
BASE = NewSandbox("base", 300, secure=True)


class Watch:
    """Looks at the disk of an installation when a test says so, and counts at whom it looks."""

    def __init__(self, installation: Installation, runtime: MemoryRuntime, action: str) -> None:
        settings = Settings(
            home=installation.settings.home, runtime="memory", disk_mb=LIMIT_MB, disk_action=action, min_free_disk_mb=0
        )
        parts = {"runtime": runtime, "registry": installation.registry, "journal": installation.journal}
        self.host = HostDisk(settings, **parts)  # type: ignore[arg-type]
        self.limits = DiskLimits(settings, service=installation.service, host=self.host, **parts)  # type: ignore[arg-type]
        self.installation = installation
        self.runtime = runtime
        self.looked_at: list[set[str]] = []
        runtime.free_disk = 1 << 40
        runtime.before = self._note

    def _note(self, operation: str, names: str) -> None:
        if operation == "measure_disk":
            self.looked_at.append(set(names.split()))

    async def create(self) -> str:
        return (await self.installation.service.create(BASE)).id

    async def write(self, sandbox_id: str, mib: int) -> None:
        """Let a sandbox have written so much, and look."""
        container = self.installation.service.get(sandbox_id).container
        assert self.runtime.free_disk is not None
        self.runtime.free_disk += self.runtime.used_disk.get(container, 0) - mib * MIB
        self.runtime.used_disk[container] = mib * MIB
        await self.look()

    async def look(self) -> None:
        await self.host.look()
        await self.limits.look()

    async def told(self, sandbox_id: str) -> list[LogEntry]:
        entries = await self.installation.history.load(sandbox_id, LogQuery())
        return [one for one in entries if one.event == "disk_full"]

    def state(self, sandbox_id: str) -> SandboxState:
        return self.installation.service.get(sandbox_id).state


async def test_above_its_limit_a_sandbox_is_paused(installation: Installation, runtime: MemoryRuntime) -> None:
    watch = Watch(installation, runtime, "pause")
    full, other = await watch.create(), await watch.create()
    await watch.write(full, LIMIT_MB)
    assert watch.state(full) is SandboxState.RUNNING
    await watch.write(full, LIMIT_MB + 50)
    assert (watch.state(full), watch.state(other)) == (SandboxState.PAUSED, SandboxState.RUNNING)
    [entry] = await watch.told(full)
    assert entry.message == "has written 210 MiB, and its limit is 160 MiB (SANDLOT_DISK_MB): it is paused"
    assert (entry.level, dict(entry.fields)) == ("warn", {"used_mb": "210", "limit_mb": "160", "action": "pause"})
    assert watch.limits.find_usage(full) == Usage(210 * MIB, 160 * MIB)


async def test_who_goes_on_may_clean_up_but_not_write_on(installation: Installation, runtime: MemoryRuntime) -> None:
    watch = Watch(installation, runtime, "pause")
    full = await watch.create()
    await watch.write(full, 200)
    await installation.service.resume(full, 60)
    await watch.write(full, 200 + GRACE_MB)
    assert watch.state(full) is SandboxState.RUNNING
    await watch.write(full, 200 + GRACE_MB + 1)
    assert watch.state(full) is SandboxState.PAUSED
    await installation.service.resume(full, 60)
    await watch.look()
    assert watch.state(full) is SandboxState.PAUSED, "the grace does not grow with each resume"
    await installation.service.resume(full, 60)
    await watch.write(full, 100)
    assert watch.state(full) is SandboxState.RUNNING
    await watch.write(full, LIMIT_MB + 1)
    assert watch.state(full) is SandboxState.PAUSED, "below its limit it begins anew"


async def test_killed_or_only_told(installation: Installation, runtime: MemoryRuntime) -> None:
    watch = Watch(installation, runtime, "event")
    told = await watch.create()
    for mib in (200, 300, 400):
        await watch.write(told, mib)
    assert watch.state(told) is SandboxState.RUNNING
    assert len(await watch.told(told)) == 1
    assert watch.limits.find_usage(told) is None, "nothing limits it"

    strict = Watch(installation, runtime, "kill")
    killed = await strict.create()
    await strict.write(killed, 200)
    await installation.tasks.finish(5)
    entries = await installation.history.load(killed, LogQuery())
    ends = [one.fields["reason"] for one in entries if one.event == "killed"]
    assert ends == ["disk full: it has written 200 MiB, and its limit is 160 MiB (SANDLOT_DISK_MB)"]
    assert installation.registry.get(killed) is None


async def test_nobody_is_looked_at_who_cannot_have_written_too_much(
    installation: Installation, runtime: MemoryRuntime
) -> None:
    watch = Watch(installation, runtime, "pause")
    made = [await watch.create() for _ in range(3)]
    containers = {installation.service.get(one).container for one in made}
    await watch.look()
    assert watch.looked_at == [containers]
    for mib in (50, 100, 150):
        await watch.write(made[0], mib)
    assert len(watch.looked_at) == 1, "together they have not written a limit's worth"
    await watch.write(made[0], 155)
    await watch.write(made[1], 20)
    assert watch.looked_at[1:] == [containers], "any of them may have written 175 MiB"
    await watch.write(made[1], 24)
    assert len(watch.looked_at) == 2
    await watch.write(made[1], 30)
    assert watch.looked_at[2:] == [{installation.service.get(made[0]).container}], "the first has 5 MiB left"
    await installation.service.pause(made[2])
    await watch.write(made[1], 31 + LIMIT_MB)
    assert installation.service.get(made[2]).container not in watch.looked_at[-1], "who is paused does not write"


async def test_a_failure_is_tried_again(installation: Installation, runtime: MemoryRuntime) -> None:
    watch = Watch(installation, runtime, "pause")
    full = await watch.create()

    def fail(operation: str, name: str) -> None:
        if operation == "pause":
            raise EngineError("cannot freeze")

    runtime.before = fail
    await watch.write(full, 200)
    assert watch.state(full) is SandboxState.RUNNING
    assert await watch.told(full) == []
    runtime.before = lambda operation, name: None
    await watch.look()
    assert watch.state(full) is SandboxState.PAUSED


async def test_what_is_gone_is_forgotten(installation: Installation, runtime: MemoryRuntime) -> None:
    watch = Watch(installation, runtime, "pause")
    full = await watch.create()
    await watch.write(full, 200)
    await installation.service.kill(full)
    await installation.tasks.finish(5)
    await watch.look()
    assert watch.limits.find_usage(full) is None


@pytest.mark.parametrize(("action", "shown"), [("event", 0), ("pause", 64), ("kill", 64), (None, 0)])
def test_only_a_limit_that_holds_is_shown(tmp_path: Path, action: str | None, shown: int) -> None:
    limits = {} if action is None else {"disk_mb": 64, "disk_action": action}
    assert Settings(home=tmp_path, **limits).enforced_disk_mb == shown  # type: ignore[arg-type]


async def test_a_full_host_starts_nothing(
    installation: Installation, runtime: MemoryRuntime, api: httpx.AsyncClient
) -> None:
    made = (await api.post("/v2/sandboxes", json={"templateID": "base"})).json()["sandboxID"]
    runtime.used_disk[installation.service.get(made).container] = 700 * MIB
    runtime.free_disk = 100 * MIB
    await installation.host_disk.look()
    for path, body in (
        ("/v2/sandboxes", {"templateID": "base"}),
        (f"/sandboxes/{made}/snapshots", {}),
        ("/v3/templates", {"name": "new"}),
    ):
        refused = await api.post(path, json=body)
        assert (refused.status_code, refused.json()["code"], refused.headers["should-retry"]) == (429, 429, "false")
        assert refused.json()["message"].startswith("the engine's disk has only 100 MiB free: nothing new is started")
    assert (await api.post(f"/sandboxes/{made}/fork", json={})).status_code == 429
    assert installation.service.get(made).state is SandboxState.RUNNING
    assert (await api.post(f"/sandboxes/{made}/pause")).status_code == 204
    assert (await api.post(f"/v2/sandboxes/{made}/connect", json={})).status_code == 201, "to clean up"

    runtime.free_disk = 5000 * MIB
    await installation.host_disk.look()
    assert (await api.post("/v2/sandboxes", json={"templateID": "base"})).status_code == 201
    await installation.journal.flush()
    low, enough = await installation.store.load_entries(NO_SANDBOX)
    assert (low.event, low.level, low.fields["free_mb"]) == ("host_disk_low", "warn", "100")
    assert low.message.endswith(f"; most was written by {made} 700 MiB")
    assert enough.event == "host_disk_enough"


async def test_a_sandbox_in_another_operation_is_tried_again(
    installation: Installation, runtime: MemoryRuntime
) -> None:
    """Snapshots keep a sandbox from being paused for a moment."""
    watch = Watch(installation, runtime, "pause")
    full = await watch.create()
    entry = installation.registry.get(full)
    assert entry is not None
    entry.change(SandboxState.SNAPSHOTTING)
    await watch.write(full, 200)
    entry.change(SandboxState.RUNNING)
    await watch.look()
    assert watch.state(full) is SandboxState.PAUSED
