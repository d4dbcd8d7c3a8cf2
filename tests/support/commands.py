"""Other programs, run to their end."""

from __future__ import annotations

import subprocess
from pathlib import Path


def run(command: list[str | Path], cwd: Path, env: dict[str, str] | None = None) -> None:
    """Run to the end, or fail with everything the command printed."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-4000:]
