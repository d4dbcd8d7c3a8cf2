"""Messages of a command's stream, as the agent sends them."""

from __future__ import annotations

import base64
from typing import Any

from support.fake_server import END, Answer, stream

STARTED = {"event": {"start": {"pid": 5}}}


def output(**parts: bytes) -> dict[str, Any]:
    """Output on `stdout`, `stderr` or `pty`."""
    return {"event": {"data": {name: base64.b64encode(part).decode() for name, part in parts.items()}}}


def ended(code: int = 0) -> dict[str, Any]:
    """The end; as the agent does it, what is zero is left out."""
    failure = {"exitCode": code, "error": f"exit status {code}"} if code else {}
    return {"event": {"end": {"exited": True, "status": f"exit status {code}", **failure}}}


def program(*messages: dict[str, Any], code: int = 0) -> Answer:
    """The whole stream of a command that writes `messages` and ends."""
    return stream(STARTED, *messages, ended(code), END)
