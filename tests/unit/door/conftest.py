from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from support.door import House, open_house


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The server runs on uvloop; what only works there would hide a mistake in the flow control."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    # Not tmp_path: a unix socket's path is short.
    with tempfile.TemporaryDirectory(prefix="door") as folder:
        async with open_house(Path(folder)) as house:
            yield house
