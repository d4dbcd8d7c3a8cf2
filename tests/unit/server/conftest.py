"""A server over the memory runtime, and a client of its API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from sandlot_server.installation import Installation, open_installation
from sandlot_server.runtime.memory import MemoryRuntime
from sandlot_server.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, port=0, runtime="memory", pool_size=0)


@pytest.fixture
def runtime() -> MemoryRuntime:
    return MemoryRuntime()


@pytest.fixture
async def installation(settings: Settings, runtime: MemoryRuntime) -> AsyncIterator[Installation]:
    installation = open_installation(settings, runtime=runtime)
    async with installation.run():
        yield installation
    await runtime.destroy()


def connect(installation: Installation) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(installation.create_app(), raise_app_exceptions=False)
    headers = {"X-API-KEY": installation.identity.api_key}
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)


@pytest.fixture
async def api(installation: Installation) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(installation) as client:
        yield client
