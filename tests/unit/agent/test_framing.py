"""Envelopes, codecs, queries, credentials and times: whatever comes is a value or the client's mistake."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandlot_envd.codec import CODECS
from sandlot_envd.errors import BadRequest, ResourceExhausted, Unimplemented
from sandlot_envd.fields import read_bytes, read_number, read_text
from sandlot_envd.framing import frame, read_frames
from sandlot_envd.http import parse_query
from sandlot_envd.rpc import read_basic_user
from sandlot_envd.timestamps import parse_timestamp

T = TypeVar("T")
CASES = settings(max_examples=int(os.environ.get("FUZZ_CASES", "200")), deadline=None)


async def in_pieces(data: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    start = 0
    for cut in sorted({min(cut, len(data)) for cut in cuts} | {len(data)}):
        yield data[start:cut]
        start = cut


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits, without an event loop for each of many."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waited")


async def collect(data: bytes, cuts: list[int]) -> list[bytes]:
    return [payload async for payload in read_frames(in_pieces(data, cuts))]


@CASES
@given(payloads=st.lists(st.binary(max_size=300), max_size=6), cuts=st.lists(st.integers(0, 2000), max_size=20))
def test_property_frames_survive_any_cutting(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frame(payload) for payload in payloads)
    assert drive(collect(data, cuts)) == payloads


@CASES
@given(data=st.binary(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_fuzz_frames(data: bytes, cuts: list[int]) -> None:
    with contextlib.suppress(BadRequest, Unimplemented, ResourceExhausted):
        drive(collect(data, cuts))


@CASES
@given(
    data=st.one_of(
        st.binary(max_size=200), st.text(max_size=100).map(str.encode), st.from_regex(rb"[\[\]{}\",:0-9a-z]*")
    )
)
def test_fuzz_json_messages(data: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(CODECS["json"].decode(data, "process.StartRequest"), dict)


@CASES
@given(data=st.binary(max_size=100))
def test_fuzz_binary_messages(data: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(CODECS["proto"].decode(data, "process.StartRequest"), dict)


MESSAGES = st.dictionaries(
    st.text(max_size=5), st.text(max_size=5) | st.integers() | st.lists(st.booleans()), max_size=4
)


@CASES
@given(message=MESSAGES)
def test_property_json_is_always_valid(message: dict[str, Any]) -> None:
    encoded = CODECS["json"].encode(message, "")
    json.loads(encoded.decode("utf-8", "strict"))


def test_names_that_are_not_utf_8_are_shown_with_replacements() -> None:
    name = b"caf\xe9 \xf0\x9f\x98\x80".decode("utf-8", "surrogateescape")
    assert json.loads(CODECS["json"].encode({"n": name}, "")) == {"n": "caf\ufffd \U0001f600"}


@CASES
@given(pairs=st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=10), max_size=4), plus=st.booleans())
def test_property_queries_come_back(pairs: dict[str, str], plus: bool) -> None:
    encode = quote_plus if plus else quote
    query = "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs.items())
    assert parse_query(query) == pairs


@CASES
@given(query=st.text(max_size=50) | st.from_regex(r"[%0-9a-fA-F_+ x]{1,20}", fullmatch=True))
def test_fuzz_queries_mean_what_urllib_says(query: str) -> None:
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.replace("+", " ").partition("=")
            wanted = {unquote(name, errors="surrogateescape"): unquote(value, errors="surrogateescape")}
            assert parse_query(pair) == wanted


@CASES
@given(name=st.text(max_size=20).filter(lambda name: ":" not in name), password=st.text(max_size=5))
def test_property_basic_users_come_back(name: str, password: str) -> None:
    value = base64.b64encode(f"{name}:{password}".encode()).decode()
    assert read_basic_user({"authorization": f"Basic {value}"}) == name


@CASES
@given(value=st.text(max_size=30))
def test_fuzz_authorizations(value: str) -> None:
    read_basic_user({"authorization": value})
    read_basic_user({"authorization": f"Basic {value}"})


@CASES
@given(data=st.binary(max_size=40))
def test_property_bytes_in_every_base64(data: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(data).decode()
        assert read_bytes({"b": text}, "b") == read_bytes({"b": text.rstrip("=")}, "b") == data


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@CASES
@given(value=ANYTHING)
def test_fuzz_fields(value: object) -> None:
    for read in (read_bytes, read_number, read_text):
        with contextlib.suppress(BadRequest):
            read({"f": value}, "f")


@CASES
@given(
    moment=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001 - the zone comes next
    minutes=st.integers(-14 * 60, 14 * 60),
)
def test_property_timestamps_mean_what_datetime_says(moment: datetime, minutes: int) -> None:
    there = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    delta = there - datetime(1970, 1, 1, tzinfo=UTC)
    assert (
        parse_timestamp(there.isoformat()) == (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1000
    )


def test_timestamps_have_nanoseconds() -> None:
    assert parse_timestamp("1970-01-01T00:00:01.000000001Z") == 1_000_000_001
    assert parse_timestamp("2024-02-29T00:00:00Z") == 1_709_164_800 * 10**9
    assert parse_timestamp("") is None


@CASES
@given(text=st.one_of(st.text(min_size=1, max_size=30), st.from_regex(r"[0-9TZ:.+-]{1,30}", fullmatch=True)))
def test_fuzz_timestamps(text: str) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(parse_timestamp(text), int)


@pytest.mark.parametrize(
    "text", ["yesterday", "2024-13-01T00:00:00Z", "2024-01-01", "2024-01-01T00:00:00", "1-1-1T1:1:1"]
)
def test_other_texts_are_no_timestamps(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_timestamp(text)
