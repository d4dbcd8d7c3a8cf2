"""One live server for the official SDKs, removed with everything it started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import run
from support.live import LiveServer
from support.packages import require


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("sandlot"))
    try:
        live.start()
        yield live
    finally:
        live.remove()


@pytest.fixture(scope="module")
def sdk(server: LiveServer) -> Iterator[dict[str, str]]:
    """The environment of this process points the official SDK at the live server."""
    before = {name: os.environ.get(name) for name in server.sdk_environment}
    os.environ.update(server.sdk_environment)
    yield server.sdk_environment
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="session")
def contract_dir() -> Path:
    return Path(__file__).parent


@pytest.fixture(scope="session")
def js_dir(contract_dir: Path) -> Path:
    folder = contract_dir / "js"
    installed, lock = folder / "node_modules/.package-lock.json", folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        run(["npm", "ci", "--no-audit", "--no-fund"], folder)
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program, installed where it is missing and this can be done."""
    require(chromium="chromium", certutil="libnss3-tools")
    return shutil.which("chromium") or pytest.fail("chromium was installed and is not there")
