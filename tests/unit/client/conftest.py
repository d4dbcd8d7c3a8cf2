from __future__ import annotations

import gc
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


HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A sandbox object that outlives its event loop leaves a connection to the garbage collector, as in any program.

    What it says then is no failure of the test that happens to run at that moment.
    """
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(autouse=True, scope="module")
def collected() -> Iterator[None]:
    """Such connections are collected here, and not in the tests of another part."""
    yield
    gc.collect()
