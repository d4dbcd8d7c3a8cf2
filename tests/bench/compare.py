"""`make bench COMPARE=<commit>`: the same bench on another commit and then on this tree, side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.table import render_comparison

ROOT = Path(__file__).parents[2]
OWN = ("SANDLOT_", "E2B_")
"""What a tree's own build says is not the other's."""


def compare(commit: str, arguments: list[str]) -> str:
    """Return the table of both; raises subprocess.CalledProcessError when one of them does not run."""
    with tempfile.TemporaryDirectory() as folder, _check_out(commit, Path(folder) / "tree") as tree:
        before = _run(tree, Path(folder) / "before.json", arguments)
        after = _run(ROOT, Path(folder) / "after.json", arguments)
        return render_comparison(before, after)


@contextmanager
def _check_out(commit: str, tree: Path) -> Iterator[Path]:
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, commit], cwd=ROOT, check=True)
    try:
        yield tree
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


def _run(tree: Path, result: Path, arguments: list[str]) -> list[dict[str, object]]:
    print(f"measuring {tree}", file=sys.stderr)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    built = 'docker/venv.sh && images=$(docker/build.sh all) && set -a && eval "$images" && exec .venv/bin/python'
    command = ["bash", "-euc", f'{built} tests/bench/run.py "$@"', "bench", "--json", str(result), *arguments]
    subprocess.run(command, cwd=tree, env=environment, check=True)
    rows: list[dict[str, object]] = json.loads(result.read_text())
    return rows
