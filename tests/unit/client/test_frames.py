"""Messages cut out of a stream, wherever the network cut it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot._errors import RpcError
from sandlot._frames import FrameReader, Message, encode_frame
from sandlot._http import BadResponse
from support.fake_server import END, end_error, frame

MESSAGES = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), max_size=8)


@given(MESSAGES, st.lists(st.integers(min_value=0, max_value=500), max_size=8))
def test_property_of_streams_in_pieces(messages: list[Message], cuts: list[int]) -> None:
    data = b"".join(map(encode_frame, messages)) + END
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    reader, found = FrameReader(), []
    for start, end in pairwise(places):
        reader.feed(data[start:end])
        while (message := reader.next_message()) is not None:
            found.append(message)
    assert found == messages
    assert reader.ended


@given(st.binary(max_size=100))
def test_property_of_garbage(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data)
    try:
        while (message := reader.next_message()) is not None:
            assert isinstance(message, dict)
    except (BadResponse, RpcError):
        pass


@pytest.mark.parametrize("end", [end_error("internal", "oops"), frame({"error": {}}, 2)])
def test_an_error_at_the_end(end: bytes) -> None:
    reader = FrameReader()
    reader.feed(encode_frame({"a": 1}) + end)
    assert reader.next_message() == {"a": 1}
    with pytest.raises(RpcError):
        reader.next_message()


def test_a_frame_on_the_wire() -> None:
    data = encode_frame({"a": "ä"})
    assert data[:5] == b"\0\0\0\0" + bytes([len(data) - 5])
    assert json.loads(data[5:]) == {"a": "ä"}
