"""What the README shows works when pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent.parent / "README.md"

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def extract(language: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 1
    block: str = blocks[0]
    return block


def test_python(sdk: dict[str, str]) -> None:
    command = [sys.executable, "-c", extract("python")]
    done = subprocess.run(command, env={**os.environ, **sdk}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "| hello from" in done.stdout
    assert "exit code 0" in done.stdout
    assert "hello.py" in done.stdout


def test_javascript(sdk: dict[str, str], js_dir: Path) -> None:
    command = ["node", "--input-type=module", "-e", extract("js")]
    done = subprocess.run(command, cwd=js_dir, env={**os.environ, **sdk}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "| hello from v" in done.stdout
    assert "exit code 0" in done.stdout
    assert "hello.js" in done.stdout
