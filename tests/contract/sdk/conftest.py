"""Every test here talks to a live server through the official SDK."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "contract/sdk" in str(item.path):
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.usefixtures("sdk"))
