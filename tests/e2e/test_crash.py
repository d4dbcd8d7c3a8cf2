"""The short form of the crash test: server, containers and the engine are killed under load.

`make crash` does the same for as long as one likes.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 15

pytestmark = [pytest.mark.docker, pytest.mark.timeout(500)]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dockerd"), reason="starts an engine: as root, where one is")
def test_nothing_is_lost_whatever_is_killed(bundle: Path) -> None:
    """Fails with what was lost; the seed is in the output, but what the machine does in between is not repeated."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SANDLOT_", "E2B_"))}
    seed, live_restore = random.randrange(10**6), random.choice(["true", "false"])
    settings = {"BUNDLE": str(bundle), "CRASH_SECONDS": str(SECONDS), "CRASH_SEED": str(seed)}
    environment = {**kept, **settings, "LIVE_RESTORE": live_restore}
    command = ["tests/e2e/engine/own_engine.sh", (ROOT / "tests/crash/own_engine.sh").read_text()]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=450)
    told = f"live-restore {live_restore}, {done.stdout}"
    print(told)
    assert done.returncode == 0, f"{told}\n{done.stderr[-6000:]}"
    for victim in ("server", "container", "engine"):
        assert f"{victim} killed" in done.stdout
