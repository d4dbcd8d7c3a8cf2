"""Multipart bodies, cut into pieces at every place, and what hides in them."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandlot_envd.errors import BadRequest
from sandlot_envd.multipart import MAX_PART_HEAD, Reader, find_boundary, parse_parameters

CASES = settings(max_examples=int(os.environ.get("FUZZ_CASES", "200")), deadline=None)
BOUNDARY = b"bound"


async def stream(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:end] for start, end in itertools.pairwise(edges)]


async def parse(pieces: list[bytes], boundary: bytes = BOUNDARY) -> list[tuple[str, str, bytes]]:
    parts = []
    async for part in Reader(stream(pieces), boundary).parts():
        parts.append((part.field, part.filename, b"".join([data async for data in part])))  # noqa: PERF401
    return parts


def build(parts: list[tuple[str, str, bytes]], boundary: bytes = BOUNDARY) -> bytes:
    body = b""
    for field, filename, content in parts:
        head = f'Content-Disposition: form-data; name="{field}"; filename="{filename}"\r\nContent-Type: a/b\r\n'
        body += b"--" + boundary + b"\r\n" + head.encode() + b"\r\n" + content + b"\r\n"
    return body + b"--" + boundary + b"--\r\n"


NAMES = st.text(st.characters(blacklist_characters='"\\\r\n', blacklist_categories=("Cs", "Cc")), max_size=20)
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"-", b"bound", b"\r\n--boun", b"\r\n--boundary", b" ", b"x"]),
        max_size=12,
    ).map(b"".join),
)


def hides_a_delimiter(content: bytes) -> bool:
    """Whether a body holds what really is a delimiter, at its start too."""
    lines = (b"\r\n" + content + b"\r\n").split(b"\r\n--bound")[1:]
    return any(line.startswith(b"--") or not line.split(b"\n")[0].strip(b" \t\r") for line in lines)


@CASES
@given(st.lists(st.tuples(NAMES, NAMES, CONTENTS), max_size=4), st.lists(st.integers(0, 10**6), max_size=8))
async def test_property_parts_come_out_as_they_went_in(parts: list[tuple[str, str, bytes]], places: list[int]) -> None:
    parts = [part for part in parts if not hides_a_delimiter(part[2])]
    assert await parse(cut(build(parts), places)) == parts


PIECES = [
    b"--bound", b"\r\n--bound", b"\r\n", b"\n", b"--", b" \t", b"x" * 200, b"Content-Disposition: form-data; ",
    b'name="file"', b'; filename="a"', b"\r\n\r\n", b"\r", b"-", b'"', b"\\", b" " * 1100,
]  # fmt: skip
FRAGMENTS = st.lists(st.one_of(st.binary(max_size=8), st.sampled_from(PIECES)), max_size=20).map(b"".join)


async def try_parse(pieces: list[bytes]) -> list[tuple[str, str, bytes]] | str:
    try:
        return await parse(pieces)
    except BadRequest as error:
        return error.message


@CASES
@given(FRAGMENTS, st.lists(st.integers(0, 10**6), max_size=8))
async def test_fuzz_any_bytes_are_parts_or_a_clients_mistake(body: bytes, places: list[int]) -> None:
    """However the body is cut on its way, the outcome is the same."""
    for whole in (body, b"--bound\r\n" + body):
        at_once = await try_parse([whole])
        assert await try_parse(cut(whole, places)) == at_once
        assert await try_parse([whole[i : i + 1] for i in range(len(whole))]) == at_once


@CASES
@given(st.text(max_size=100))
def test_fuzz_parameters_of_any_text(text: str) -> None:
    parsed = parse_parameters(text)
    assert all(isinstance(name, str) for name in parsed)


async def test_byte_by_byte() -> None:
    parts = [("file", "a/b.txt", b"one\r\n--bound-not\r\ntwo"), ("other", "", b""), ("file", "c", b"\r\n" * 5)]
    body = build(parts)
    assert await parse([body[i : i + 1] for i in range(len(body))]) == parts


async def test_what_comes_before_and_after_is_left_out() -> None:
    body = b"preamble --bound\r\n" + build([("file", "a", b"x")]) + b"epilogue\r\n--bound\r\n"
    assert await parse([body]) == [("file", "a", b"x")]


async def test_white_space_may_follow_a_delimiter_and_lines_may_end_bare() -> None:
    body = b'--bound \t\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--bound\n\r\ny\r\n--bound--'
    assert await parse([body]) == [("file", "", b"x"), ("", "", b"y")]


async def test_a_part_without_any_body_or_head() -> None:
    body = b'--bound\r\nContent-Disposition: form-data; name="file"\r\n\r\n--bound\r\n\r\n\r\n--bound--'
    assert await parse([body]) == [("file", "", b""), ("", "", b"")]


async def test_no_parts() -> None:
    assert await parse([b"--bound--\r\n"]) == []


async def test_what_is_left_unread_is_skipped() -> None:
    body = build([("a", "1", b"x" * 1000), ("b", "2", b"y"), ("c", "3", b"z")])
    fields = []
    async for part in Reader(stream([body[:50], body[50:300], body[300:]]), BOUNDARY).parts():
        fields.append(part.field)
        async for _ in part:
            break
    assert fields == ["a", "b", "c"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no delimiter at all",
        b"--bound",
        b"--bound\r\n",
        b"--bound\r\nContent-Disposition: form-data",
        b'--bound\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut of',
        b'--bound\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--bound',
    ],
)
async def test_a_body_that_ends_too_early(body: bytes) -> None:
    with pytest.raises(BadRequest, match="ends before its last delimiter"):
        await parse([body])


async def test_a_head_without_end() -> None:
    with pytest.raises(BadRequest, match="head of a part is too large"):
        await parse([b"--bound\r\n", *[b"X" * 1024] * (MAX_PART_HEAD // 1024 + 2)])


async def test_large_bodies_pass_without_being_gathered() -> None:
    chunk = os.urandom(1 << 16)
    pieces = [b'--bound\r\nContent-Disposition: form-data; name="file"\r\n\r\n', *[chunk] * 64, b"\r\n--bound--"]
    sizes = []
    async for part in Reader(stream(pieces), BOUNDARY).parts():
        sizes = [len(data) async for data in part]
    assert sum(sizes) == 64 * len(chunk)
    assert max(sizes) < 2 * len(chunk)


def test_parameters() -> None:
    assert parse_parameters('form-data; name="file"; filename="a b;c.txt"') == {"name": "file", "filename": "a b;c.txt"}
    assert parse_parameters("form-data; Name=file ;filename=plain") == {"name": "file", "filename": "plain"}
    assert parse_parameters(r'form-data; filename="a\"b\\c"') == {"filename": 'a"b\\c'}
    assert parse_parameters(r'form-data; filename="C:\dev\a"') == {"filename": r"C:\dev\a"}
    assert parse_parameters('form-data; filename="no end') == {"filename": "no end"}
    assert parse_parameters("form-data") == {}


async def test_names_that_are_not_ascii() -> None:
    for raw, name in (
        ('filename="文档.txt"'.encode(), "文档.txt"),
        (b"filename=\"x\"; filename*=UTF-8''%E6%96%87%20a", "文 a"),
        (b'filename="\xff\xfe"', "\udcff\udcfe"),
    ):
        body = b'--bound\r\nContent-Disposition: form-data; name="file"; ' + raw + b"\r\n\r\n\r\n--bound--"
        assert await parse([body]) == [("file", name, b"")]


def test_boundaries() -> None:
    assert find_boundary('multipart/form-data; boundary="a b"') == b"a b"
    assert find_boundary("multipart/form-data; charset=utf-8; boundary=----x") == b"----x"
    for wrong in ("multipart/form-data", "multipart/form-data; boundary=", f"multipart/x; boundary={'x' * 201}"):
        with pytest.raises(BadRequest, match="boundary"):
            find_boundary(wrong)
