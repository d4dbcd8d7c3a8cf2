"""Partial and conditional requests, codings, and what a download's head says."""

from __future__ import annotations

import os
from email.utils import formatdate, parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandlot_envd.encodings import NotAcceptable, is_gzip, wants_gzip
from sandlot_envd.errors import BadRequest
from sandlot_envd.file_headers import describe_file, find_type, format_filename
from sandlot_envd.ranges import check_conditions, choose_range, format_date, make_etag, parse_date

CASES = settings(max_examples=int(os.environ.get("FUZZ_CASES", "200")), deadline=None)


def make_info(size: int = 100, mtime_ns: int = 1_700_000_000_000_000_000) -> os.stat_result:
    fields = (0o100644, 7, 1, 1, 0, 0, size, 0, mtime_ns // 10**9, 0)
    times = {"st_mtime": mtime_ns / 1e9, "st_mtime_ns": mtime_ns}
    return os.stat_result(fields, times)


INFO = make_info()
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=50-1000", (50, 100)),
        ("Bytes = 0 - 0 ", (0, 1)),
        ("bytes=0-9,20-29", None),
        ("bytes=0-9,", (0, 10)),
        ("lines=0-9", None),
        ("", None),
    ],
)
def test_ranges(header: str, wanted: tuple[int, int] | None) -> None:
    assert choose_range({"range": header}, INFO) == wanted


@pytest.mark.parametrize(
    "header",
    ["bytes=", "bytes=-", "bytes=x-y", "bytes=9-5", "bytes=100-", "bytes=-0", "bytes=" + "9" * 5000 + "-", "bytes=1"],
)
def test_ranges_that_are_not_there(header: str) -> None:
    wanted = choose_range({"range": header}, INFO)
    assert wanted is not None
    assert wanted[0] >= wanted[1]


@CASES
@given(st.text(st.sampled_from("bytes=,- 0123456789x٣"), max_size=40), st.integers(0, 1 << 63))
def test_property_a_range_lies_within_the_file(header: str, size: int) -> None:
    wanted = choose_range({"range": header}, make_info(size))
    if wanted is not None and wanted[0] < wanted[1]:
        assert 0 <= wanted[0] < wanted[1] <= size


def test_a_range_of_another_version_is_the_whole() -> None:
    for condition, same in (
        (make_etag(INFO), True),
        (DATE, True),
        ('"other"', False),
        (formatdate(1, usegmt=True), False),
    ):
        wanted = choose_range({"range": "bytes=0-9", "if-range": condition}, INFO)
        assert wanted == ((0, 10) if same else None), condition
    assert choose_range({"range": "bytes=0-9", "if-range": f"W/{make_etag(INFO)}"}, INFO) is None


def test_conditions() -> None:
    etag, earlier, later = make_etag(INFO), "Mon, 13 Nov 2023 22:13:20 GMT", "Wed, 15 Nov 2023 22:13:20 GMT"
    for headers, status in (
        ({}, None),
        ({"if-none-match": etag}, 304),
        ({"if-none-match": f'"x", W/{etag}'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"', "if-modified-since": later}, None),
        ({"if-modified-since": DATE}, 304),
        ({"if-modified-since": later}, 304),
        ({"if-modified-since": earlier}, None),
        ({"if-modified-since": "nonsense"}, None),
        ({"if-match": etag}, None),
        ({"if-match": "*"}, None),
        ({"if-match": f"W/{etag}"}, 412),
        ({"if-match": '"x"'}, 412),
        ({"if-unmodified-since": earlier}, 412),
        ({"if-unmodified-since": DATE}, None),
    ):
        assert check_conditions(headers, INFO) == status, headers


@CASES
@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_property_dates_come_back(seconds: int) -> None:
    text = format_date(seconds)
    assert text is not None
    assert parse_date(text) == seconds
    if seconds > -30_000_000_000:
        assert parsedate_to_datetime(text).timestamp() == seconds


@CASES
@given(st.text(max_size=40))
def test_fuzz_any_text_is_a_date_or_none(text: str) -> None:
    assert parse_date(text) is None or text.strip().endswith("GMT")


def test_dates_that_http_cannot_write() -> None:
    assert format_date(1 << 60) is None
    assert format_date(253_402_300_800) is None
    assert "Last-Modified" not in describe_file("/a", b"", (1 << 60) * 10**9)


@pytest.mark.parametrize(
    ("header", "packed"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("gzip, deflate", False),  # what both SDKs send by default
        ("deflate, gzip, br, zstd", False),
        ("gzip, identity;q=0.5", True),
        ("gzip;q=0.5, identity;q=0.8", False),
        ("gzip; q=1,*; q=0", True),
        ("identity;q=0, *", True),
        ("identity", False),
        ("*", False),
        ("gzip;q=0", False),
        ("gzip;q=nan", True),
        ("br", False),
    ],
)
def test_who_gets_gzip(header: str | None, packed: bool) -> None:
    assert wants_gzip(header) is packed


@pytest.mark.parametrize("header", ["identity;q=0", "*;q=0", "br, *;q=0", "gzip;q=0, identity;q=0"])
def test_nothing_acceptable(header: str) -> None:
    with pytest.raises(NotAcceptable):
        wants_gzip(header)


def test_parts_are_never_packed() -> None:
    assert wants_gzip("gzip", only_identity=True) is False
    with pytest.raises(NotAcceptable):
        wants_gzip("gzip;q=1, *;q=0", only_identity=True)


def test_codings_of_bodies() -> None:
    assert is_gzip("gzip")
    assert is_gzip(" GZip ")
    assert not is_gzip(None)
    assert not is_gzip("identity")
    with pytest.raises(BadRequest, match="'br'"):
        is_gzip("br")


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("test.txt", "filename=test.txt"),
        (".env", "filename=.env"),
        ("my document.pdf", 'filename="my document.pdf"'),
        ('file"name.txt', 'filename="file\\"name.txt"'),
        ("file\\name.txt", 'filename="file\\\\name.txt"'),
        ("文档.pdf", "filename*=utf-8''%E6%96%87%E6%A1%A3.pdf"),
        ("a\nb", "filename*=utf-8''a%0Ab"),
        ("\udcff'", "filename*=utf-8''%FF%27"),
    ],
)
def test_file_names_in_heads(name: str, parameter: str) -> None:
    assert format_filename(name) == parameter


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.html", b"", "text/html; charset=utf-8"),
        ("a.JSON", b"", "application/json"),
        ("a.png", b"text", "image/png"),
        ("script", b"#!/bin/sh\n", "text/plain; charset=utf-8"),
        ("empty", b"", "text/plain; charset=utf-8"),
        ("noise", b"\x00\x01", "application/octet-stream"),
        ("latin", b"caf\xe9 ", "application/octet-stream"),
        ("cut", b"x" * 511 + "é".encode(), "text/plain; charset=utf-8"),
        ("colour", b"\x1b[31mred", "text/plain; charset=utf-8"),
    ],
)
def test_media_types(name: str, head: bytes, kind: str) -> None:
    assert find_type(name, head) == kind
