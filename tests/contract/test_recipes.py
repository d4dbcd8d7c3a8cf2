"""Every recipe of docs/recipes.md runs as it stands, and leaves no sandbox behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.live import LiveServer

PAGE = Path(__file__).parents[2] / "docs/recipes.md"
TITLES = re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)
SAYS = {
    "Run code somebody else has written": "3 45\n\n",
    "Follow a long command, and stop it": "",
    "Many sandboxes at once": "[0, 1, 4, 9, 16]\n",
    "Keep work for later": "half done\n",
    "Try the same thing several ways": "common\nvariant 0\n\ncommon\nvariant 1\n\n",
    "A server inside, a browser outside": "<h1>hello</h1>\n",
    "See files change": "[('create', 'letter.txt'), ('chmod', 'letter.txt'), ('write', 'letter.txt')]\n",
    "Large files": "the same\n\n",
    "A template of your own": "<h1>hello</h1>\n\n",
}

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]


def extract(title: str) -> str:
    section = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(block)


def test_all_are_looked_at() -> None:
    assert list(SAYS) == TITLES


@pytest.mark.parametrize("title", TITLES)
def test_recipe(title: str, server: LiveServer) -> None:
    command = [sys.executable, "-W", "error", "-c", extract(title)]
    environment = {**os.environ, **server.sdk_environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == SAYS[title]
    assert server.call("GET", "/v2/sandboxes")[1] == []
