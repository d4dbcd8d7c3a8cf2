"""One agent for the tests that leave nothing behind, agents of their own for the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.agent import Agent, can_box, run_agent


@pytest.fixture(scope="session")
def _boxable() -> None:
    if not can_box():
        pytest.skip("needs root, to give the agent namespaces of its own")


@pytest.fixture(scope="session")
def agent(_boxable: None) -> Iterator[Agent]:
    with run_agent() as running:
        yield running


@pytest.fixture
def own_agent(_boxable: None) -> Iterator[Agent]:
    """An agent that the test may change."""
    with run_agent() as running:
        yield running
