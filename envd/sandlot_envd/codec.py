"""Messages on the wire. Inside the agent they are dicts in ProtoJSON form; JSON is what the SDKs speak.

The binary form is converted with the generated classes, which are loaded on its first use only: they would
cost every sandbox memory that almost none needs.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any, Protocol

from sandlot_envd.errors import BadRequest

Message = dict[str, Any]


class Codec(Protocol):
    """One encoding of messages; `type_name` is a full message name such as process.StartRequest."""

    def decode(self, data: bytes, type_name: str) -> Message:
        """Return the message; raises BadRequest for what is not one."""

    def encode(self, message: Message, type_name: str) -> bytes:
        """Return the message's bytes."""


class JsonCodec:
    """ProtoJSON, in both spellings of field names."""

    def decode(self, data: bytes, type_name: str) -> Message:
        """Return the message; raises BadRequest for what is not one."""
        try:
            value = json.loads(data or b"{}")
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"unmarshal message: {error}") from error
        if not isinstance(value, dict):
            raise BadRequest("unmarshal message: not a JSON object")
        # Fields of more than one word stand at the top of every request; below it keys may be the user's own.
        return {_camel(key): field for key, field in value.items() if field is not None}

    def encode(self, message: Message, type_name: str) -> bytes:
        """Return the message's bytes."""
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:  # a file's name that is not UTF-8
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class BinaryCodec:
    """Protocol buffers' own encoding."""

    def _find_class(self, type_name: str) -> Any:
        package, name = type_name.split(".")
        return getattr(import_module(f"sandlot_protocol.{package}.{package}_pb"), name)

    def decode(self, data: bytes, type_name: str) -> Message:
        """Return the message; raises BadRequest for what is not one."""
        try:
            text = self._find_class(type_name).from_binary(data, ignore_unknown_fields=True).to_json()
        except Exception as error:  # the library documents no error of its own for malformed bytes
            raise BadRequest(f"unmarshal message: {error}") from error
        message: Message = json.loads(text)
        return message

    def encode(self, message: Message, type_name: str) -> bytes:
        """Return the message's bytes."""
        data: bytes = self._find_class(type_name).from_json(json.dumps(message)).to_binary()
        return data


CODECS: dict[str, Codec] = {"json": JsonCodec(), "proto": BinaryCodec()}
"""By the word that content types name them with."""
