"""Writes docs/reference.md from signatures and docstrings.

    python -m sandlot._dev.reference           writes
    python -m sandlot._dev.reference --check   fails when what is there is not what would be written

Members are those of the asynchronous classes; the synchronous ones have the same under names without `Async`.
"""

from __future__ import annotations

import ast
import enum
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sandlot
from sandlot._async.commands import Commands
from sandlot._async.filesystem import Filesystem
from sandlot._async.pty import Pty
from sandlot.template_builder import TemplateBuilder

PAGE = Path(__file__).parents[3] / "docs/reference.md"
HEAD = """# Reference

Generated from the code by `python -m sandlot._dev.reference`. Every class below is there twice: `AsyncSandbox` with
methods to await, `Sandbox` with the same methods without. `**opts` are the options of `ApiParams`.
"""
MAIN = (
    sandlot.AsyncSandbox,
    Filesystem,
    Commands,
    Pty,
    sandlot.AsyncCommandHandle,
    sandlot.AsyncWatchHandle,
    sandlot.AsyncSandboxPaginator,
    sandlot.AsyncSnapshotPaginator,
    sandlot.AsyncTemplate,
    TemplateBuilder,
)
DATA = ("sandlot.models", "sandlot.config", "sandlot.template_models")


def write_page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for cls in MAIN:
        parts += _describe_class(cls)
    parts.append("## Functions\n")
    parts += [text for function in _list_functions() for text in _describe_function(function)]
    parts.append("## Data\n")
    parts += [text for cls in _list_data() for text in _describe_data(cls)]
    parts.append("## Exceptions\n")
    parts += [f"- **`{cls.__name__}`** (`{cls.__base__.__name__}`): {_first_line(cls)}" for cls in _list_exceptions()]
    return "\n".join(parts).rstrip() + "\n"


def _describe_class(cls: type) -> Iterator[str]:
    yield f"## {cls.__name__}\n\n{inspect.getdoc(cls)}\n"
    for name, member in sorted(_list_members(cls)):
        signature = _write_signature(member)
        code = f"```python\n{name}{signature}\n```\n\n" if signature else ""
        yield f"### {name}\n\n{code}{_tell(member)}\n"


def _list_members(cls: type) -> Iterator[tuple[str, Any]]:
    for name in dir(cls):
        if not name.startswith("_"):
            member = inspect.getattr_static(cls, name)
            if _tell(member):
                yield name, member


def _tell(member: Any) -> str:
    """What is said of a member. A method that is there for an object and for an id says it twice."""
    if isinstance(member, property):
        return inspect.getdoc(member.fget) or ""
    return inspect.getdoc(_unwrap(member)) or ""


def _unwrap(member: Any) -> Any:
    member = getattr(member, "__func__", member)
    return getattr(member, "of_object", member)


def _write_signature(member: Any) -> str:
    function = _unwrap(member)
    if not inspect.isfunction(function):
        return ""
    arguments = [one for one in inspect.signature(function).parameters.values() if one.name not in ("self", "cls")]
    result = inspect.signature(function).return_annotation
    arrow = "" if result is inspect.Signature.empty else f" -> {result}"
    if len(arguments) < 3:
        return f"({', '.join(map(_write_argument, arguments))}){arrow}"
    lines = "".join(f"    {_write_argument(argument)},\n" for argument in arguments)
    return f"(\n{lines}){arrow}"


def _write_argument(argument: inspect.Parameter) -> str:
    if argument.kind is inspect.Parameter.VAR_KEYWORD:
        return f"**{argument.name}"
    default = "" if argument.default is inspect.Parameter.empty else f" = {argument.default!r}"
    return f"{argument.name}: {argument.annotation}{default}"


def _list_functions() -> list[Any]:
    found = [getattr(sandlot, name) for name in sandlot.__all__]
    return sorted(filter(inspect.isfunction, found), key=lambda one: one.__name__)


def _describe_function(function: Any) -> Iterator[str]:
    name = function.__name__
    yield f"### {name}\n\n```python\n{name}{_write_signature(function)}\n```\n\n{_tell(function)}\n"


def _list_data() -> list[Any]:
    found = [getattr(sandlot, name) for name in sandlot.__all__]
    classes = [one for one in found if inspect.isclass(one) and one.__module__ in DATA]
    return sorted((one for one in classes if not issubclass(one, Exception)), key=lambda one: one.__name__)


def _describe_data(cls: Any) -> Iterator[str]:
    yield f"### {cls.__name__}\n\n{inspect.getdoc(cls)}\n"
    if issubclass(cls, enum.Enum):
        yield from (f"- `{one.name}` = `{one.value!r}`" for one in cls)
        yield ""
        return
    told = dict(_read_fields(cls))
    for name, kind in getattr(cls, "__annotations__", {}).items():
        if not name.startswith("_"):
            yield f"- `{name}: {getattr(kind, '__forward_arg__', kind)}`" + (
                f": {told[name]}" if told.get(name) else ""
            )
    yield ""


def _read_fields(cls: type) -> Iterator[tuple[str, str]]:
    """Yield the fields that have a text below them, which Python itself does not keep."""
    (tree,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(tree, ast.ClassDef)
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            yield field.target.id, " ".join(str(text.value.value).split())  # type: ignore[attr-defined]  # is_text


def _list_exceptions() -> list[Any]:
    found = [getattr(sandlot, name) for name in sandlot.__all__]
    return sorted(
        (one for one in found if inspect.isclass(one) and issubclass(one, Exception)), key=lambda one: one.__name__
    )


def _first_line(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())


def main() -> None:
    """Write the page, or compare it."""
    wanted = write_page()
    if "--check" not in sys.argv:
        PAGE.write_text(wanted)
    elif not PAGE.exists() or PAGE.read_text() != wanted:
        sys.exit("docs/reference.md is not what the code says: run python -m sandlot._dev.reference")


if __name__ == "__main__":
    main()
