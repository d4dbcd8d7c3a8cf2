"""The official SDK of an earlier era, in an environment of its own beside the project's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "tests" / "contract" / "seed.lock"
ENVIRONMENT = ROOT / ".venv-seed"


def find_seed_python() -> Path:
    """Return a Python with e2b 2.8.1, as locked; the environment is made on first use and kept."""
    stamp, python = ENVIRONMENT / "seed.lock", ENVIRONMENT / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != LOCK.read_text():
        uv = Path(sys.executable).parent / "uv"
        run(uv, "venv", "--clear", "--python", sys.executable, ENVIRONMENT)
        run(uv, "pip", "install", "--python", python, "--require-hashes", "-r", LOCK)
        stamp.write_text(LOCK.read_text())
    return python


def run(*command: str | Path) -> str:
    """Run to the end and return what was printed, or fail with everything that was."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    return done.stdout
