"""Watching at its limits: many files, full queues, too few of what inotify needs, a frozen sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.agent import Agent, RpcFailed, run_agent
from support.fuse import mount_fuse
from support.watching import CREATE, SERVICE, WRITE, frozen, watching


async def test_ten_thousand_files_are_all_told(agent: Agent, tmp_path: Path) -> None:
    async with watching(agent, tmp_path, recursive=True) as watcher:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", TEN_THOUSAND, str(tmp_path))
        assert await process.wait() == 0
        events = await watcher.changes()
    created = [name for name, kind in events if kind == CREATE]
    expected = {f"d{i}" for i in range(100)} | {f"d{i}/{j}" for i in range(100) for j in range(100)}
    assert len(created) == len(set(created))
    assert set(created) == expected
    written = {name for name, kind in events if kind == WRITE}
    assert written == {name for name in expected if "/" in name}


TEN_THOUSAND = """
import os, sys
for i in range(100):
    os.mkdir(f"{sys.argv[1]}/d{i}")
    for j in range(100):
        with open(f"{sys.argv[1]}/d{i}/{j}", "w") as file:
            file.write("x")
"""


async def test_a_kernel_queue_overflow_is_told_once(own_agent: Agent, tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"the kernel queues {limit} events here")
    async with watching(own_agent, tmp_path, recursive=True) as watcher:
        with frozen(own_agent):
            for i in range(limit + 10):
                (tmp_path / str(i)).touch()
            (tmp_path / "unseen").mkdir()
        with pytest.raises(RpcFailed, match="overflow") as failed:
            await watcher.poll()
        assert failed.value.code == "resource_exhausted"
        assert await watcher.changes() == []
        (tmp_path / "unseen/a").mkdir()
        assert await watcher.changes() == [("unseen/a", CREATE)]


async def test_an_overflow_ends_a_stream(own_agent: Agent, tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"the kernel queues {limit} events here")
    async with own_agent.stream(f"{SERVICE}/WatchDir", {"path": str(tmp_path)}) as messages:
        await anext(messages)
        with frozen(own_agent):
            for i in range(limit + 10):
                (tmp_path / str(i)).touch()
        with pytest.raises(RpcFailed, match="overflow") as failed:
            [one async for one in messages]
    assert failed.value.code == "resource_exhausted"


async def test_a_frozen_sandbox_does_not_use_up_the_deadline(own_agent: Agent, tmp_path: Path) -> None:
    headers = {"Connect-Timeout-Ms": "500"}
    async with own_agent.stream(f"{SERVICE}/WatchDir", {"path": str(tmp_path)}, headers) as messages:
        await anext(messages)
        await own_agent.control("POST", "/freeze")
        await asyncio.sleep(0.7)
        await own_agent.control("POST", "/unfreeze")
        (tmp_path / "a").mkdir()
        assert (await anext(messages))["filesystem"]["name"] == "a"
        with pytest.raises(RpcFailed) as failed:
            await anext(messages)
    assert failed.value.code == "deadline_exceeded"


@pytest.mark.usefixtures("_boxable")
async def test_network_mounts_have_to_be_allowed(tmp_path: Path) -> None:
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no FUSE here")
    with mount_fuse(tmp_path), run_agent() as agent:
        with pytest.raises(RpcFailed, match="network filesystem") as failed:
            await agent.call(f"{SERVICE}/CreateWatcher", {"path": str(tmp_path)})
        assert failed.value.code == "invalid_argument"
        async with watching(agent, tmp_path, allowNetworkMounts=True) as watcher:
            assert await watcher.changes() == []


def run_limited(limit: str, count: int) -> contextlib.AbstractContextManager[Agent]:
    """Run an agent whose kernel lets it have so few of what inotify needs."""
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"]).returncode:
        pytest.skip("no user namespaces here")
    script = f'echo {count} > /proc/sys/user/{limit}; exec "$@"'
    return run_agent(wrap=("unshare", "--user", "--map-root-user", "sh", "-c", script, "limited"))


@pytest.mark.usefixtures("_boxable")
async def test_too_few_instances(tmp_path: Path) -> None:
    with run_limited("max_inotify_instances", 0) as agent:
        for ask, method in ((agent.call, "CreateWatcher"), (agent.collect, "WatchDir")):
            with pytest.raises(RpcFailed, match="max_user_instances") as failed:
                await ask(f"{SERVICE}/{method}", {"path": str(tmp_path)})
            assert failed.value.code == "resource_exhausted"


@pytest.mark.usefixtures("_boxable")
async def test_too_few_watches(tmp_path: Path) -> None:
    for name in ("root/a/b/c", "other"):
        (tmp_path / name).mkdir(parents=True)
    with run_limited("max_inotify_watches", 3) as agent:
        async with watching(agent, tmp_path / "other") as other:
            with pytest.raises(RpcFailed, match="max_user_watches") as failed:
                await agent.call(f"{SERVICE}/CreateWatcher", {"path": str(tmp_path / "root"), "recursive": True})
            assert failed.value.code == "resource_exhausted"
            (tmp_path / "other/x").mkdir()
            assert await other.changes() == [("x", CREATE)]
            # What the refused one had is free again, and one that runs out later says so.
            async with watching(agent, tmp_path / "root/a", recursive=False):
                pass
            async with watching(agent, tmp_path / "other", recursive=True) as growing:
                for i in range(3):
                    (tmp_path / f"other/{i}").mkdir()
                with pytest.raises(RpcFailed, match="max_user_watches") as failed:
                    await growing.poll()
                assert failed.value.code == "resource_exhausted"
