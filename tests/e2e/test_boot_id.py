"""Each boot of a sandbox has a boot id of its own, however it is read."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from e2b import Sandbox

from support.live import LiveServer

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root on the engine's host can mount into a container"),
]

PATH = "/proc/sys/kernel/random/boot_id"


def read(sandbox: Sandbox) -> str:
    inside = sandbox.commands.run(f"cat {PATH}").stdout
    assert sandbox.files.read(PATH) == inside
    return inside.strip()


def test_it_changes_with_a_cold_boot_alone(server: LiveServer, create: Callable[..., Sandbox]) -> None:
    first, other = create(), create()
    before = read(first)
    assert before != read(other)
    with open(PATH) as file:
        assert file.read().strip() != before
    first.pause()
    assert read(Sandbox.connect(first.sandbox_id, **server.options)) == before
    first.pause(keep_memory=False)
    assert read(Sandbox.connect(first.sandbox_id, **server.options)) != before


def test_nobody_inside_can_take_it_away(sandbox: Sandbox) -> None:
    before = read(sandbox)
    sandbox.commands.run(f"umount {PATH}; rm -f /run/e2b/boot_id; true", user="root")
    assert sandbox.commands.run(f"cat {PATH}").stdout.strip() == before
