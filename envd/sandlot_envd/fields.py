"""Reading the fields of a message that a client sent: absent ones have defaults, wrong ones are its mistake."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from sandlot_envd.errors import BadRequest

Message = dict[str, Any]


def read_text(message: Message, name: str, default: str = "") -> str:
    """Return a string field; raises BadRequest for anything else, and for a NUL, which no program can be given."""
    value = message.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise BadRequest(f"{name} is not a string")
    if "\0" in value:
        raise BadRequest(f"{name} contains a NUL character")
    return value


def read_flag(message: Message, name: str, default: bool = False) -> bool:
    """Return a boolean field; raises BadRequest for anything else."""
    value = message.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadRequest(f"{name} is not a boolean")
    return value


def read_number(message: Message, name: str, default: int = 0) -> int:
    """Return an unsigned 32-bit field, written as a number or, as ProtoJSON allows, in digits."""
    value = message.get(name)
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
        raise BadRequest(f"{name} is not a number between 0 and {2**32 - 1}")
    return value


def read_message(message: Message, name: str) -> Message:
    """Return a field that is itself a message; raises BadRequest when it is absent or something else."""
    value = message.get(name)
    if not isinstance(value, dict):
        raise BadRequest(f"{name} is missing or not an object")
    return value


def read_bytes(message: Message, name: str) -> bytes:
    """Return a field of bytes from base64, in either alphabet and with or without padding, as ProtoJSON allows."""
    value = message.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{name} is not base64")
    try:
        plain = value.rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{name} is not base64: {error}") from error
