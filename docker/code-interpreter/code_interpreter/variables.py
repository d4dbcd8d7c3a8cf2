"""Environment variables of running kernels, set by code in each one's language."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

Setter = Callable[[str, str | None], str]


def _write_python(name: str, value: str | None) -> str:
    module = "__import__('os').environ"
    return f"{module}.pop({name!r}, None)" if value is None else f"{module}[{name!r}] = {value!r}"


def _write_javascript(name: str, value: str | None) -> str:
    place = f"process.env[{json.dumps(name)}]"
    return f"delete {place};" if value is None else f"{place} = {json.dumps(value)};"


SETTERS: dict[str, Setter] = {
    "python": _write_python,
    "javascript": _write_javascript,
    "typescript": _write_javascript,
}


def write_changes(language: str, changes: Mapping[str, str | None]) -> str:
    """Code that sets variables, and takes away those that are None."""
    return "\n".join(SETTERS[language](name, value) for name, value in changes.items())


def find_undoing(changes: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str | None]:
    """The changes that bring back what was there before."""
    return {name: before.get(name) for name in changes}
