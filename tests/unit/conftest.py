"""What holds for every unit test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_domain_mode() -> Iterator[None]:
    """A server in a unit test leaves the well-known port of domain mode to the one that somebody runs beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANDLOT_TLS_PORT", "-1")
        yield
