"""The SDK of an earlier era and the JavaScript SDK, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def run(command: list[str | Path], cwd: Path, env: dict[str, str] | None = None) -> None:
    """Run to the end, or fail with everything the command printed."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-4000:]


@pytest.fixture(scope="session")
def seed_python(contract_dir: Path) -> Path:
    """A Python with e2b 2.8.1, as locked; made once and kept beside the project's own environment."""
    root = contract_dir.parent.parent
    environment, lock = root / ".venv-seed", contract_dir / "seed.lock"
    stamp = environment / "seed.lock"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        uv = Path(sys.executable).parent / "uv"
        run([uv, "venv", "--clear", "--python", sys.executable, environment], root)
        run([uv, "pip", "install", "--python", environment / "bin/python", "--require-hashes", "-r", lock], root)
        stamp.write_text(lock.read_text())
    return environment / "bin/python"


def test_an_sdk_of_an_earlier_era(seed_python: Path, contract_dir: Path, sdk: dict[str, str]) -> None:
    arguments = ["-q", "-c", os.devnull, "--rootdir", ".", "--noconftest", "-p", "no:cacheprovider", "sdk/test_life.py"]
    run([seed_python, "-m", "pytest", *arguments], contract_dir, {**os.environ, **sdk})


@pytest.fixture(scope="session")
def js_dir(contract_dir: Path) -> Path:
    folder = contract_dir / "js"
    installed, lock = folder / "node_modules/.package-lock.json", folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        run(["npm", "ci", "--no-audit", "--no-fund"], folder)
    return folder


def test_the_javascript_sdk(js_dir: Path, sdk: dict[str, str]) -> None:
    run(["node", "--test", "life.test.js"], js_dir, {**os.environ, **sdk})
