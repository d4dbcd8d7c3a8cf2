"""docs/settings.md names every setting, with its default and what it means. `UPDATE_DOCS=1` writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

from sandlot_server.settings import Settings

PAGE = Path(__file__).parents[3] / "docs/settings.md"

HEAD = """# Settings

Each is an environment variable of the server; what is not set has its default. Sizes and times carry their unit in
the name.

| variable | default | what it is |
|---|---|---|
"""


def render() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, ()) else str(field.default).replace(str(Path.home()), "~")
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `SANDLOT_{name.upper()}` | {default and f'`{default}`'} | {meaning} |\n")
    return HEAD + "".join(rows)


def test_the_page_tells_what_the_server_reads() -> None:
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(render())
    assert PAGE.read_text() == render()


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
