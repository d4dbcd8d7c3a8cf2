"""Making and killing sandboxes leaves nothing in the server; tests/bench/cycles.py does it a thousand times."""

from __future__ import annotations

import pytest
from bench.cycles import run

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def test_a_server_does_not_grow() -> None:
    succeeded, (before, after) = run(40, warm_up=20)
    assert succeeded == 40
    assert (after.containers, after.rows) == (before.containers, before.rows)
    # A connection or two may be kept for the next request; one for each sandbox would be forty.
    assert after.descriptors - before.descriptors < 10
    assert after.threads - before.threads < 10
