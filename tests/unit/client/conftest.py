from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_server import FakeServer


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own Sandlot, or of the shell's settings, reaches the tests."""
    for name in [name for name in os.environ if name.startswith(("E2B_", "SANDLOT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SANDLOT_HOME", str(tmp_path / "home"))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server
