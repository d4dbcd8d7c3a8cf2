"""HTTP without I/O: URLs, quoting, heads, responses however their bytes are cut."""

from __future__ import annotations

from itertools import pairwise
from urllib.parse import quote as reference_quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot._addresses import known_addresses
from sandlot._http import BadResponse, ConnectionLost, ResponseParser, parse_url, quote, request_head
from sandlot.exceptions import InvalidArgumentException


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "netloc"),
    [
        ("http://a", "a", 80, "", "a"),
        ("https://a", "a", 443, "", "a"),
        ("http://a:80/", "a", 80, "", "a"),
        ("https://a.b:8443/x/y/", "a.b", 8443, "/x/y", "a.b:8443"),
        ("http://[::1]:3000", "::1", 3000, "", "[::1]:3000"),
        ("http://u:p@a", "a", 80, "", "a"),
    ],
)
def test_urls(url: str, host: str, port: int, path: str, netloc: str) -> None:
    address = parse_url(url)
    assert (address.origin.host, address.origin.port, address.path, address.origin.netloc) == (host, port, path, netloc)


@pytest.mark.parametrize("url", ["", "a", "a:80", "ftp://a", "http://", "http://:80", "http://a:b", "//a", "http:/a"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(InvalidArgumentException, match="api_url must be like"):
        parse_url(url, "api_url")


@given(st.text(), st.sampled_from(["", "/"]))
def test_property_of_quoting(text: str, safe: str) -> None:
    if all(not 0xD800 <= ord(char) < 0xDC80 and not 0xDD00 <= ord(char) <= 0xDFFF for char in text):
        assert quote(text, safe) == reference_quote(text, safe=safe, errors="surrogateescape")


@pytest.mark.parametrize("header", [("A\n", "b"), ("A", "b\r\nC: d"), ("A", "\0"), ("A", "€")])
def test_a_header_cannot_become_two(header: tuple[str, str]) -> None:
    with pytest.raises(InvalidArgumentException):
        request_head("GET", "/", [header])


RESPONSES = [
    (b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: u\r\n\r\n",
        200,
        b"hello",
        True,
    ),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Evil\r\n\r\n", 200, b"ok", False),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok junk", 200, b"ok", False),
]


def feed(parser: ResponseParser, data: bytes, cuts: list[int]) -> bytes:
    body = b""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        if start < end and not parser.done:
            parser.feed(data[start:end])
            body += b"".join(parser.body)
            parser.body = []
    return body


@given(st.sampled_from(RESPONSES), st.lists(st.integers(min_value=0, max_value=200), max_size=6))
def test_property_of_responses_in_pieces(response: tuple[bytes, int, bytes, bool], cuts: list[int]) -> None:
    data, status, body, reusable = response
    parser = ResponseParser()
    assert feed(parser, data, cuts) == body
    assert (parser.status, parser.done) == (status, True)
    # What follows the end may not have come yet: the pool looks for it before it uses the connection again.
    assert parser.reusable is reusable or not (b"Evil" not in data and b"junk" not in data)


@given(st.binary(min_size=1, max_size=300))
def test_property_of_garbage(data: bytes) -> None:
    parser = ResponseParser()
    try:
        parser.feed(data)
        parser.feed_eof()
    except (BadResponse, ConnectionLost):
        return
    assert parser.done


def test_a_head_without_end() -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(BadResponse, match="too long"):
        feed(parser, b"A: b\r\n" * 20_000, list(range(1000, 120_000, 1000)))


def test_the_end_of_a_connection() -> None:
    parser = ResponseParser()
    with pytest.raises(ConnectionLost, match="before"):
        parser.feed_eof()
    parser.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
    parser.feed_eof()
    assert parser.done
    assert not parser.reusable


def test_addresses_known_without_asking() -> None:
    assert [address for _, address in known_addresses("X.LOCALHOST.", 1)] == [("127.0.0.1", 1), ("::1", 1)]
    assert [address for _, address in known_addresses("10.0.0.1", 2)] == [("10.0.0.1", 2)]
    assert [address for _, address in known_addresses("::1", 3)] == [("::1", 3)]
    assert known_addresses("example.com", 4) == []
