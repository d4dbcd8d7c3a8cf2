"""The SDK of an earlier era and the JavaScript SDK, each in an environment of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.commands import run

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


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
    arguments = ["-q", "-c", os.devnull, "--rootdir", ".", "--noconftest", "-p", "no:cacheprovider"]
    files = ["sdk/test_life.py", "sdk/test_templates.py"]
    run([seed_python, "-m", "pytest", *arguments, *files], contract_dir, {**os.environ, **sdk})


def test_the_javascript_sdk(js_dir: Path, sdk: dict[str, str]) -> None:
    run(["node", "--test", "life.test.js", "agent.test.js", "interpreter.test.js"], js_dir, {**os.environ, **sdk})
