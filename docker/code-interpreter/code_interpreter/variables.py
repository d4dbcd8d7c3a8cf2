"""Environment variables of running kernels, set by code in each one's language."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping

Setter = Callable[[str, str | None], str]


def _write_python(name: str, value: str | None) -> str:
    module = "__import__('os').environ"
    return f"{module}.pop({name!r}, None)" if value is None else f"{module}[{name!r}] = {value!r}"


def _write_javascript(name: str, value: str | None) -> str:
    place = f"process.env[{_quote(name)}]"
    return f"delete {place};" if value is None else f"{place} = {_quote(value)};"


def _write_r(name: str, value: str | None) -> str:
    if value is None:
        return f"Sys.unsetenv({_quote(name)})"
    return f"invisible(do.call(Sys.setenv, setNames(list({_quote(value)}), {_quote(name)})))"


def _write_java(name: str, value: str | None) -> str:
    """Properties, for the environment of a program in Java cannot be changed; E2B does the same."""
    if value is None:
        return f"System.clearProperty({_quote(name)});"
    return f"System.setProperty({_quote(name)}, {_quote(value)});"


def _write_bash(name: str, value: str | None) -> str:
    return f"unset {shlex.quote(name)}" if value is None else f"export {shlex.quote(f'{name}={value}')}"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # R knows no surrogates


SETTERS: dict[str, Setter] = {
    "python": _write_python,
    "javascript": _write_javascript,
    "typescript": _write_javascript,
    "r": _write_r,
    "java": _write_java,
    "bash": _write_bash,
}


def write_changes(language: str, changes: Mapping[str, str | None]) -> str:
    """Code that sets variables, and takes away those that are None."""
    return "\n".join(SETTERS[language](name, value) for name, value in changes.items())


def find_undoing(changes: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str | None]:
    """The changes that bring back what was there before."""
    return {name: before.get(name) for name in changes}
