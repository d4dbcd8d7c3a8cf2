"""Regenerates the message classes from the .proto files: `python -m sandlot_protocol.generate [--check]`."""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).parent
SERVICES = ("process", "filesystem")


def generate(out: Path) -> None:
    """Write the generated packages below `out`, with the generators installed beside this interpreter.

    Raises subprocess.CalledProcessError when the compiler refuses the sources.
    """
    tools = Path(sys.executable).parent
    template = {"version": "v2", "plugins": [{"local": str(tools / "protoc-gen-py"), "out": str(out)}]}
    path = f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run(
        [tools / "buf", "generate", "--template", json.dumps(template), str(PACKAGE / "proto")],
        check=True,
        env={**os.environ, "PATH": path},
    )
    (out / "__init__.py").write_text('"""The wire contract shared by agent, server and client."""\n')
    for service in SERVICES:
        (out / service / "__init__.py").write_text(f'"""Generated messages of the {service} service."""\n')


def find_differences() -> list[str]:
    """Return the generated files that differ from what the sources give now."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        return [name for name in _list_generated(Path(scratch)) if not _is_current(Path(scratch), name)]


def _list_generated(root: Path) -> list[str]:
    return sorted(str(file.relative_to(root)) for file in root.rglob("*.py"))


def _is_current(root: Path, name: str) -> bool:
    return (PACKAGE / name).exists() and filecmp.cmp(root / name, PACKAGE / name, shallow=False)


def main() -> int:
    """Run from the command line; with --check only compare, and fail on a difference."""
    if "--check" not in sys.argv:
        generate(PACKAGE)
        return 0
    differing = find_differences()
    for name in differing:
        print(f"out of date: {name} (run python -m sandlot_protocol.generate)")  # noqa: T201 - a command's output
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
