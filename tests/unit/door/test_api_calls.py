"""API calls that bear routing headers reach the API, as SDKs of an earlier era rely on."""

from __future__ import annotations

import pytest

from sandlot_server.proxy.routing import Target, is_api_call

AGENT = Target("i123", 49983)


@pytest.mark.parametrize("path", [b"/sandboxes/i123/connect", b"/sandboxes?limit=1", b"/v2/sandboxes", b"/templates"])
def test_a_key_and_an_api_path_mean_the_api(path: bytes) -> None:
    assert is_api_call(AGENT, path, True)


@pytest.mark.parametrize(
    ("target", "path", "has_api_key"),
    [
        (AGENT, b"/sandboxes/i123/connect", False),
        (AGENT, b"/health", True),
        (AGENT, b"/files?path=/sandboxes", True),
        (AGENT, b"/sandboxes-of-mine", True),
        (Target("i123", 8000), b"/sandboxes", True),
    ],
)
def test_everything_else_stays_with_the_sandbox(target: Target, path: bytes, has_api_key: bool) -> None:
    assert not is_api_call(target, path, has_api_key)
