"""How a process ended, in the words of Go's os.ProcessState, which the SDKs show to people."""

from __future__ import annotations

import os
import signal
from typing import Any


def describe_exit(status: int) -> dict[str, Any]:
    """Return the EndEvent of a wait status."""
    if os.WIFSIGNALED(status):
        text = f"signal: {_describe_signal(os.WTERMSIG(status))}"
        if os.WCOREDUMP(status):
            text += " (core dumped)"
        return {"exitCode": -1, "exited": False, "status": text, "error": text}
    code = os.WEXITSTATUS(status)
    end: dict[str, Any] = {"exitCode": code, "exited": True, "status": f"exit status {code}"}
    return {**end, "error": end["status"]} if code else end


def _describe_signal(number: int) -> str:
    text = signal.strsignal(number) if number < 32 else None
    if text is None:
        return f"signal {number}"
    is_acronym = text[:2] in ("CP", "I/")
    return text if is_acronym else text[0].lower() + text[1:]
