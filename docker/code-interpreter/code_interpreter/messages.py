"""What kernels say, as the lines that clients read."""

from __future__ import annotations

import json
from typing import Any

Line = dict[str, Any]

FORMATS = {
    "text/plain": "text",
    "text/html": "html",
    "text/markdown": "markdown",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "application/pdf": "pdf",
    "text/latex": "latex",
    "application/json": "json",
    "application/javascript": "javascript",
    "e2b/data": "data",
    "e2b/chart": "chart",
}


def encode(line: Line) -> bytes:
    """One line, in ASCII: clients may decode what arrives piece by piece."""
    return json.dumps(line).encode() + b"\n"


def translate(message: dict[str, Any]) -> Line | None:
    """The line for a message of a kernel's output channel; None for one that clients have no use for."""
    kind, content = message["header"]["msg_type"], message["content"]
    if kind == "stream":
        return {"type": content["name"], "text": content["text"], "timestamp": _format_date(message)}
    if kind in ("display_data", "execute_result"):
        return make_result(content["data"], is_main=kind == "execute_result")
    if kind == "execute_input":
        return {"type": "number_of_executions", "execution_count": content["execution_count"]}
    if kind == "error":
        return make_error(content)
    return None


def make_result(data: dict[str, Any], *, is_main: bool) -> Line:
    """A result in all formats it has; those without a field of their own are `extra`."""
    known = {FORMATS[kind]: value for kind, value in data.items() if kind in FORMATS}
    if "text" in known:
        known["text"] = _unquote(known["text"])
    extra = {kind: value for kind, value in data.items() if kind not in FORMATS}
    return {"type": "result", **known, "extra": extra, "is_main_result": is_main}


def make_error(content: dict[str, Any]) -> Line:
    """An error that a kernel tells of, on whichever channel."""
    return {
        "type": "error",
        "name": content.get("ename") or "Error",
        "value": content.get("evalue") or "",
        "traceback": "\n".join(content.get("traceback") or ()),
    }


def _unquote(text: str) -> str:
    """Strings are shown without the quotes of their representation."""
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if is_quoted else text


def _format_date(message: dict[str, Any]) -> str:
    date = message["header"]["date"]
    return date if isinstance(date, str) else date.isoformat()
