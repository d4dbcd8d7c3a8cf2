"""Writes `sandlot/_sync` from `sandlot/_async`, and the synchronous tests from the asynchronous ones.

    python -m sandlot._dev.unasync           writes
    python -m sandlot._dev.unasync --check   fails when what is there is not what would be written

Lines that end in `# async only` are left out. Modules that cannot be translated stay behind; what imports them
imports their hand-written twins in `sandlot/_sync_support` instead. A rule that matches nothing any more is an
error, and so is anything asynchronous that no rule has caught.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[1]
SOURCE = CLIENT / "_async"
TARGET = CLIENT / "_sync"
TESTS = CLIENT.parents[1] / "tests"

BY_HAND = ("command_handle", "input_handle", "io", "watch_handle")
"""Modules of `_async` whose twins in `_sync_support` are written by hand."""

RULES = [
    (rf"sandlot\._async\.({'|'.join(BY_HAND)})\b", r"sandlot._sync_support.\1"),
    (r"sandlot\._async\b", "sandlot._sync"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsyncGenerator\[(\w+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsyncWriteEntry\b", "SyncWriteEntry"),
    (r"\bAsync([A-Z])", r"\1"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\ba(next)\(", r"\1("),
    (r"\baclose\b", "close"),
    (r"\basynchronous\b", "synchronous"),
]

LEFT_OVER = re.compile(r"\b(async|await|asyncio|aclose|anext|aiter)\b|__a(enter|exit|iter|next)__|\bAsync[A-Z]")

HEADER = "# Generated from {source} by sandlot._dev.unasync: change that file, not this one.\n"


class Translator:
    """The rules, and which of them have been of use."""

    def __init__(self) -> None:
        self.rules = [(re.compile(pattern), replacement) for pattern, replacement in RULES]
        self.unused = set(range(len(RULES)))

    def translate(self, source: Path) -> str:
        """Return the synchronous form of a file. Raises ValueError when something asynchronous is left."""
        lines = [line for line in source.read_text().splitlines(keepends=True) if not line.endswith("# async only\n")]
        text = "".join(lines)
        for index, (pattern, replacement) in enumerate(self.rules):
            text, count = pattern.subn(replacement, text)
            if count:
                self.unused.discard(index)
        if left := LEFT_OVER.search(text):
            line = text[: left.start()].count("\n") + 1
            raise ValueError(f"{source}: nothing translates {left[0]!r}, line {line} of the outcome")
        return text


def plan() -> dict[Path, Path]:
    """Return what is translated into what."""
    modules = {path: TARGET / path.name for path in SOURCE.glob("*.py") if path.stem not in BY_HAND}
    sources = [*TESTS.glob("unit/client/test_async_*.py"), *TESTS.glob("e2e/test_async_client.py")]
    tests = {path: path.with_name(path.name.replace("async", "sync")) for path in sources}
    return {**modules, **tests}


def tidy(text: str, path: Path) -> str:
    """Sort imports and format as the project's other files; done by ruff, which the source has gone through too."""
    fix = ["check", "--fix-only", "--unsafe-fixes", "--select", "I,F401,UP028,C416"]
    for command in (fix, ["format"]):
        arguments = [sys.executable, "-m", "ruff", *command, "--quiet", "--stdin-filename", str(path), "-"]
        text = subprocess.run(arguments, input=text, capture_output=True, text=True, check=True).stdout
    return text


def main(arguments: list[str]) -> int:
    """Write, or compare with `--check`; returns the exit code."""
    translator = Translator()
    outcome = {}
    for source, target in sorted(plan().items()):
        header = HEADER.format(source=source.relative_to(CLIENT.parents[1]))
        outcome[target] = tidy(header + translator.translate(source), target)
    if translator.unused:
        raise ValueError(f"rules without use: {[RULES[index][0] for index in sorted(translator.unused)]}")
    stale = [path for path, text in outcome.items() if not path.exists() or path.read_text() != text]
    stale += [path for path in TARGET.glob("*.py") if path not in outcome]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path} is not what its source gives: run python -m sandlot._dev.unasync\n")
        return bool(stale)
    for path in stale:
        path.write_text(outcome[path]) if path in outcome else path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
