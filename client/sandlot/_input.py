"""The messages that carry input to a process."""

from __future__ import annotations

from binascii import b2a_base64
from typing import Literal

from ._frames import Message

STREAM_INPUT_S = 60.0
"""Seconds an input stream may last, unless told otherwise."""

InputKind = Literal["stdin", "pty"]


def select(pid: int) -> Message:
    """Return the selector of one process."""
    return {"pid": pid}


def process_input(kind: InputKind, data: str | bytes) -> Message:
    """Return a `ProcessInput`; text travels as UTF-8."""
    raw = data.encode() if isinstance(data, str) else data
    return {kind: b2a_base64(raw, newline=False).decode()}


def input_start(pid: int) -> Message:
    """Return the message that opens an input stream."""
    return {"start": {"process": select(pid)}}


def input_data(kind: InputKind, data: str | bytes) -> Message:
    """Return a message with input."""
    return {"data": {"input": process_input(kind, data)}}


def input_keepalive() -> Message:
    """Return the message that keeps a quiet stream open."""
    return {"keepalive": {}}
