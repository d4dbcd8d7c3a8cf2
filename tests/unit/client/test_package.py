"""The package as a whole: what it exports, what it costs, that its two halves are one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sandlot
from sandlot import AsyncSandbox, Sandbox
from sandlot._dev import unasync


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


def test_every_public_name_is_there() -> None:
    assert sorted(sandlot.__all__) == list(sandlot.__all__)
    for name in sandlot.__all__:
        assert getattr(sandlot, name) is not None
    assert set(sandlot.__all__) <= set(dir(sandlot))
    with pytest.raises(AttributeError, match="Nothing"):
        sandlot.Nothing  # noqa: B018


def test_nothing_is_imported_that_is_not_needed() -> None:
    heavy = [
        "httpx",
        "typer",
        "rich",
        "watchfiles",
        "pydantic",
        "protobuf",
        "connectrpc",
        "ssl",
        "hashlib",
        "random",
        "urllib.parse",
        "logging",
    ]
    loaded = run(
        f"import sys; from sandlot import Sandbox; print([n for n in {[*heavy, 'asyncio']} if n in sys.modules])"
    )
    assert loaded == "[]\n"
    # asyncio itself brings ssl and logging
    rest = [name for name in heavy if name not in ("ssl", "logging")]
    assert (
        run(f"import sys; from sandlot import AsyncSandbox; print([n for n in {rest} if n in sys.modules])") == "[]\n"
    )


def test_both_clients_have_the_same_methods() -> None:
    def names(cls: type) -> set[str]:
        return {name for name in dir(cls) if not name.startswith("_")}

    assert names(AsyncSandbox) == names(Sandbox)


def test_the_synchronous_client_is_up_to_date() -> None:
    assert unasync.main(["--check"]) == 0


def test_a_translation_that_would_be_wrong_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text("import asyncio\n\nasync def f() -> None:\n    await asyncio.sleep(1)\n")
    with pytest.raises(ValueError, match="'asyncio', line 1"):
        unasync.Translator().translate(source)
    source.write_text("x = 1  # async only\nasync def f() -> None:\n    await g()\n")
    assert unasync.Translator().translate(source) == "def f() -> None:\n    g()\n"
