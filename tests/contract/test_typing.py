"""The client as a strict type checker sees it from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CONSUMER = Path(__file__).with_name("typed_consumer.py")


def test_a_strictly_checked_program(tmp_path: Path) -> None:
    """`assert_type` in the program says what each call must give; mypy sees the installed package, not our settings."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", CONSUMER]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_program_for_pyright(tmp_path: Path) -> None:
    settings = {"include": [str(CONSUMER)], "typeCheckingMode": "strict", "reportUnusedVariable": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--project", tmp_path, "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
