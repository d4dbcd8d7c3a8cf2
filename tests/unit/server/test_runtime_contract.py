"""What every runtime must do: the same tests for the pretended one and for Docker."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandlot_server.errors import ContainerGone, DiskFull, EngineError
from sandlot_server.runtime.base import ContainerInfo, ContainerSpec, Death, Listening, Role, Runtime, Status
from sandlot_server.runtime.docker_client import connect
from sandlot_server.runtime.docker_disk import DiskMeter
from sandlot_server.runtime.docker_engine import DockerEngine
from sandlot_server.runtime.docker_images import Digester
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.runtime.swap import can_push, read_swap
from sandlot_server.settings import Settings


@dataclass
class Bench:
    """A runtime to try, and a way to kill one of its containers behind its back."""

    runtime: Runtime
    crash: Callable[[str], Awaitable[None]]
    image: str

    def specify(self, **changes: object) -> ContainerSpec:
        values = {
            "name": f"sandlot-test-{secrets.token_hex(6)}",
            "template_id": "base",
            "build_id": "b1",
            "image": self.image,
            "control_token": "secret",
            "cpu_count": 1,
            "memory_mb": 256,
            "pids_limit": 100,
        }
        return ContainerSpec(**{**values, **changes})  # type: ignore[arg-type]

    async def find(self, name: str) -> ContainerInfo | None:
        return next((info for info in await self.runtime.list_containers() if info.name == name), None)


@pytest.fixture(params=["memory", pytest.param("docker", marks=pytest.mark.docker)])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = make_memory_bench() if request.param == "memory" else make_docker_bench(tmp_path)
    await bench.runtime.open()
    try:
        yield bench
    finally:
        await bench.runtime.destroy()
        await bench.runtime.close()


def make_memory_bench() -> Bench:
    runtime = MemoryRuntime()
    return Bench(runtime, runtime.crash, "image")


def make_docker_bench(home: Path) -> Bench:
    async def kill(name: str) -> None:
        process = await asyncio.create_subprocess_exec("docker", "kill", name, stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0

    settings = Settings(home=home)
    return Bench(DockerEngine(settings, secrets.token_hex(6)), kill, settings.base_image)


async def test_a_container_from_start_to_end(bench: Bench) -> None:
    spec = bench.specify()
    started = await bench.runtime.start(spec)
    assert await bench.runtime.attach(spec.name) == started
    assert started.image_env["PATH"]
    info = await bench.find(spec.name)
    assert info == ContainerInfo(spec.name, Role.SANDBOX, "base", "b1", Status.RUNNING, current=True)
    await bench.runtime.remove(spec.name)
    assert await bench.find(spec.name) is None
    await bench.runtime.remove(spec.name)


async def test_pause_and_unpause(bench: Bench) -> None:
    spec = bench.specify()
    started = await bench.runtime.start(spec)
    await bench.runtime.pause(spec.name)
    info = await bench.find(spec.name)
    assert info is not None
    assert info.status is Status.PAUSED
    assert await bench.runtime.attach(spec.name) == started
    await bench.runtime.pause(spec.name)
    await bench.runtime.unpause(spec.name)
    await bench.runtime.unpause(spec.name)
    info = await bench.find(spec.name)
    assert info is not None
    assert info.status is Status.RUNNING
    await bench.runtime.pause(spec.name)
    await bench.runtime.remove(spec.name)
    assert await bench.find(spec.name) is None


@pytest.mark.parametrize("paused", [False, True])
async def test_halt_and_boot(bench: Bench, paused: bool) -> None:
    spec = bench.specify()
    await bench.runtime.start(spec)
    if paused:
        await bench.runtime.pause(spec.name)
    await bench.runtime.halt(spec.name)
    info = await bench.find(spec.name)
    assert info is not None
    assert info.status is Status.EXITED
    with pytest.raises(ContainerGone):
        await bench.runtime.attach(spec.name)
    await bench.runtime.halt(spec.name)
    booted = await bench.runtime.boot(spec.name)
    assert await bench.runtime.attach(spec.name) == booted


async def test_what_is_not_there(bench: Bench) -> None:
    for work in (bench.runtime.attach, bench.runtime.pause, bench.runtime.unpause, bench.runtime.halt):
        with pytest.raises(ContainerGone):
            await work("sandlot-test-none")
    with pytest.raises(ContainerGone):
        await bench.runtime.boot("sandlot-test-none")
    await bench.runtime.remove("sandlot-test-none")


async def test_names_are_taken_once(bench: Bench) -> None:
    spec = bench.specify()
    await bench.runtime.start(spec)
    with pytest.raises(EngineError):
        await bench.runtime.start(spec)


async def test_two_may_remove_at_once(bench: Bench) -> None:
    spec = bench.specify()
    await bench.runtime.start(spec)
    await asyncio.gather(bench.runtime.remove(spec.name), bench.runtime.remove(spec.name))
    assert await bench.find(spec.name) is None


async def test_deaths_are_told(bench: Bench) -> None:
    spec = bench.specify()
    await bench.runtime.start(spec)
    notices = bench.runtime.watch()
    async with asyncio.timeout(20):
        assert await anext(notices) == Listening()
        await bench.crash(spec.name)
        # The tools that made the firewall have ended too, and may be told of late.
        while not (isinstance(death := await anext(notices), Death) and death.container == spec.name):
            continue
    assert (death.container, death.stopped) == (spec.name, False)
    assert await bench.runtime.explain_end(spec.name) == death.reason
    await notices.aclose()  # type: ignore[attr-defined]
    with pytest.raises(ContainerGone):
        await bench.runtime.explain_end("sandlot-test-none")


async def test_memory_leaves_where_there_is_swap(bench: Bench) -> None:
    spec = bench.specify()
    await bench.runtime.start(spec)
    assert await bench.runtime.push_out(spec.name) == 0, "it runs"
    await bench.runtime.pause(spec.name)
    moved = await bench.runtime.push_out(spec.name)
    if isinstance(bench.runtime, DockerEngine):
        assert (moved > 0) is (can_push() and read_swap()[1] > 0)
    pushing = asyncio.ensure_future(bench.runtime.push_out(spec.name))
    await bench.runtime.unpause(spec.name)
    await asyncio.wait_for(pushing, 10)
    await bench.runtime.attach(spec.name)


@pytest.mark.docker
async def test_a_capture_that_does_not_fit(tmp_path: Path) -> None:
    """A hole costs the sandbox nothing, and would cost the host all its disk."""
    bench = make_docker_bench(tmp_path)
    await bench.runtime.open()
    try:
        spec = bench.specify()
        await bench.runtime.start(spec)
        process = await asyncio.create_subprocess_exec("docker", "exec", spec.name, "truncate", "-s", "8T", "/hole")
        assert await process.wait() == 0
        await bench.runtime.pause(spec.name)
        with pytest.raises(DiskFull, match="holes count as written"):
            await bench.runtime.capture(spec.name)
        assert list((tmp_path / "layers").iterdir()) == []
        assert (await bench.runtime.attach(spec.name)).name == spec.name
    finally:
        await bench.runtime.destroy()
        await bench.runtime.close()


def test_no_byte_more_than_there_is_room_for(tmp_path: Path) -> None:
    """What grows while it is copied, or is copied where this process cannot count it beforehand."""
    with (tmp_path / "layer").open("wb") as file:
        out = Digester(file, 10)
        assert out.write(b"12345678") == 8
        with pytest.raises(DiskFull):
            out.write(b"901")
    assert (tmp_path / "layer").read_bytes() == b"12345678"


@pytest.mark.docker
async def test_what_a_container_has_written(tmp_path: Path) -> None:
    bench = make_docker_bench(tmp_path)
    await bench.runtime.open()
    try:
        idle, busy = bench.specify(), bench.specify()
        for spec in (idle, busy):
            await bench.runtime.start(spec)
        script = "dd if=/dev/urandom of=/root/file bs=1M count=20; truncate -s 500M /root/hole"
        process = await asyncio.create_subprocess_exec("docker", "exec", busy.name, "sh", "-c", script, stderr=-3)
        assert await process.wait() == 0
        used = await bench.runtime.measure_disk([idle.name, busy.name, "sandlot-test-none"])
        assert set(used) == {idle.name, busy.name}
        assert used[idle.name] < 2**20
        assert 20 * 2**20 <= used[busy.name] < 22 * 2**20
        by_engine = DiskMeter(connect).measure_by_engine([idle.name, busy.name])
        assert set(by_engine) == set(used)
        assert by_engine[busy.name] >= 520 * 2**20, "the engine counts holes"
        free = await bench.runtime.read_free_disk()
        assert free is not None
        assert free > 0
    finally:
        await bench.runtime.destroy()
        await bench.runtime.close()


async def test_destroy_removes_everything(bench: Bench) -> None:
    for _ in range(2):
        await bench.runtime.start(bench.specify())
    assert await bench.runtime.destroy() == 2
    assert await bench.runtime.list_containers() == []


@pytest.mark.docker
async def test_destroy_waits_for_what_still_leaves_the_network(tmp_path: Path) -> None:
    """As when the engine finishes a start that a killed server had asked for."""
    bench = make_docker_bench(tmp_path)
    engine = connect()
    await bench.runtime.open()
    started = await bench.runtime.start(bench.specify())
    network = next(iter(engine.inspect_container(started.name)["NetworkSettings"]["Networks"]))
    late = engine.create_container(bench.image, ["sleep", "60"])["Id"]
    try:
        engine.connect_container_to_network(late, network)
        engine.start(late)
        destroying = asyncio.create_task(bench.runtime.destroy())
        while await bench.runtime.list_containers():
            await asyncio.sleep(0.01)
        engine.remove_container(late, force=True)
        assert await destroying == 1
        assert engine.networks(names=[network]) == []
    finally:
        engine.close()
        await bench.runtime.close()


async def test_a_capture_becomes_an_image(bench: Bench) -> None:
    spec = bench.specify()
    await bench.runtime.start(spec)
    await bench.runtime.pause(spec.name)
    capture = await bench.runtime.capture(spec.name)
    image = await bench.runtime.make_image(capture, "b2")
    assert await bench.runtime.list_images() == ["b2"]
    copy = bench.specify(image=image, build_id="b2")
    await bench.runtime.start(copy)
    await bench.runtime.remove(copy.name)
    await bench.runtime.remove_image("b2")
    await bench.runtime.remove_image("b2")
    assert await bench.runtime.list_images() == []


async def test_a_capture_of_a_halted_container(bench: Bench) -> None:
    spec = bench.specify()
    await bench.runtime.start(spec)
    await bench.runtime.halt(spec.name)
    await bench.runtime.make_image(await bench.runtime.capture(spec.name), "b3")
    assert await bench.runtime.list_images() == ["b3"]
    await bench.runtime.destroy(images=True)
    assert await bench.runtime.list_images() == []
    with pytest.raises(ContainerGone):
        await bench.runtime.capture(spec.name)
