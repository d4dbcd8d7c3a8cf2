"""The short form of the crash test: `make crash` runs it for as long as one likes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 20

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("dockerd"), reason="starts an engine: as root, where one is"
    ),
]


def test_nothing_is_lost_whatever_is_killed(bundle: Path) -> None:
    """Fails with what was lost; the seed is in the output, but what the machine does in between is not repeated."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SANDLOT_", "E2B_"))}
    settings = {
        "BUNDLE": str(bundle),
        "CRASH_SECONDS": str(SECONDS),
        "CRASH_SEED": str(random.randrange(10**6)),
        # One or the other: each has its own way of losing things, and both would take twice as long.
        "LIVE_RESTORE": random.choice(["true", "false"]),
    }
    print(settings)
    scenario = (ROOT / "tests/crash/own_engine.sh").read_text()
    done = subprocess.run(
        ["tests/e2e/engine/own_engine.sh", scenario],
        cwd=ROOT,
        env={**kept, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=380,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-6000:]}"
    for victim in ("server", "container", "engine"):
        assert f"{victim} killed" in done.stdout
