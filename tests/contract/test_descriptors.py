"""Our messages are E2B's: every name, number, type and presence, read from the official SDK's own descriptors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from e2b.envd.filesystem import filesystem_pb as theirs_filesystem
from e2b.envd.process import process_pb as theirs_process

from sandlot_protocol.filesystem import filesystem_pb as ours_filesystem
from sandlot_protocol.process import process_pb as ours_process

PAIRS = [
    pytest.param(ours_process, theirs_process, id="process"),
    pytest.param(ours_filesystem, theirs_filesystem, id="filesystem"),
]


def walk(messages: Any) -> Iterator[Any]:
    for message in messages:
        yield message
        yield from walk(message.nested_messages)


def describe_field(field: Any) -> tuple[Any, ...]:
    raw = field.proto
    return (field.number, field.json_name, raw.type, raw.label, raw.type_name, raw.proto3_optional, raw.oneof_index)


def describe(module: Any) -> dict[str, Any]:
    file = module.desc()
    messages = {m.type_name: {f.name: describe_field(f) for f in m.fields} for m in walk(file.messages)}
    enums = {e.type_name: {v.name: v.number for v in e.values} for e in file.enums}
    services = {
        s.type_name: {
            m.name: (m.proto.input_type, m.proto.output_type, m.proto.client_streaming, m.proto.server_streaming)
            for m in s.methods
        }
        for s in file.services
    }
    return {"messages": messages, "enums": enums, "services": services}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_contract_equals_the_official_sdks(ours: Any, theirs: Any) -> None:
    assert describe(ours) == describe(theirs)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_comparison_sees_something(ours: Any, theirs: Any) -> None:
    seen = describe(theirs)
    assert all(seen.values())
    assert sum(len(fields) for fields in seen["messages"].values()) > 20
