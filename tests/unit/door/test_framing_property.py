"""Properties of the pure parts, with generated input; and the same requests in any segments mean the same."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import tempfile
from pathlib import Path

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandlot_server.proxy.framing import Chunked, FramingError
from sandlot_server.proxy.heads import HeadError, parse_request
from sandlot_server.proxy.plan import Planner
from sandlot_server.proxy.reply import Reply
from sandlot_server.proxy.routing import RoutingError, Site, is_reserved
from support.door import open_house, request

CASES = settings(max_examples=int(os.environ.get("FUZZ_CASES", "200")), deadline=None)

names = st.text("abcxyzABC-_", min_size=1, max_size=8)
bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


def frame(parts: list[bytes], extension: str, trailers: list[str]) -> bytes:
    lines = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension.encode(), part) for part in parts)
    return lines + b"0\r\n" + b"".join(b"x-%b: y\r\n" % name.encode() for name in trailers) + b"\r\n"


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@CASES
@given(
    bodies, st.sampled_from(["", ";a=b", ";x"]), st.lists(names, max_size=3), st.lists(st.integers(0, 500)), st.binary()
)
def test_chunks_end_where_they_end_however_they_are_split(
    parts: list[bytes], extension: str, trailers: list[str], cuts: list[int], after: bytes
) -> None:
    body = frame(parts, extension, trailers)
    payload: list[bytes] = []
    framing, used = Chunked(payload), 0
    for piece in split(body + after, cuts):
        if framing.done:
            break
        used += framing.feed(piece)
    assert framing.done
    assert used == len(body)
    assert b"".join(payload) == b"".join(parts)


@CASES
@given(
    st.binary(max_size=60) | st.text("0123456789aF;\r\n x:", max_size=40).map(str.encode), st.lists(st.integers(0, 60))
)
def test_whether_chunks_are_valid_does_not_depend_on_how_they_are_split(data: bytes, cuts: list[int]) -> None:
    def follow(pieces: list[bytes]) -> object:
        framing, used = Chunked(), 0
        try:
            for piece in pieces:
                if framing.done:
                    break
                used += framing.feed(piece)
        except FramingError:
            return "refused"
        return (framing.done, used) if framing.done else "open"

    whole = follow([data])
    assert follow(split(data, cuts)) == whole
    if isinstance(whole, tuple):
        read_by_h11(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data[: whole[1]])


def read_by_h11(data: bytes) -> list[h11.Event]:
    """What an independent parser makes of a request; fails when it is not exactly one."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
    reader.receive_data(data)
    events = []
    while True:
        event = reader.next_event()
        assert event not in (h11.NEED_DATA, h11.PAUSED), "cut off"
        assert not isinstance(event, type)
        events.append(event)
        if isinstance(event, h11.EndOfMessage):
            assert reader.trailing_data[0] == b""
            return events


head_pieces = st.sampled_from(
    [
        b"GET ", b"POST ", b"/", b"/a?b=c", b"http://a/", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: a\r\n",
        b"Host:b\r\n", b"Content-Length: 0\r\n", b"Content-Length:\t0 \r\n", b"content-length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n", b"X: y\r\n", b"X:\r\n", b"X: \xe9\r\n", b"X\x00: y\r\n",
        b"X-Sandlot-Control: x\r\n", b"Connection: Upgrade\r\nUpgrade: x\r\n", b" z\r\n",
        b"\n", b"\r", b"Connection: close, x\r\n", b"E2b-Sandbox-Id: one\r\n", b"\x0b", b"X : y\r\n",
        b"Expect: 100-continue\r\n", b"#", b" ",
    ]
)  # fmt: skip


@CASES
@given(st.lists(head_pieces, max_size=10))
def test_a_head_that_is_accepted_means_the_same_to_another_parser(pieces: list[bytes]) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(pieces) if pieces[:1] != [b"GET "] else b"".join(pieces)
    try:
        seen = parse_request(head)
    except HeadError:
        return
    event = read_by_h11(
        head + b"\r\n" + (b"0\r\n\r\n" if seen.fields.chunked else b"x" * (seen.fields.content_length or 0))
    )[0]
    assert isinstance(event, h11.Request)
    assert event.method == seen.method
    headers = dict(event.headers)
    assert headers[b"host"] == seen.fields.host
    assert (b"transfer-encoding" in headers) == seen.fields.chunked
    assert headers.get(b"content-length") == (
        None if seen.fields.content_length is None else b"%d" % seen.fields.content_length
    )


@CASES
@given(st.sampled_from(["init", "tunnel", "upgrade"]), st.lists(st.integers(0, 5), max_size=6), st.integers(0, 3))
def test_a_reserved_route_is_seen_through_any_encoding(name: str, positions: list[int], times: int) -> None:
    path = name
    for position in positions[: times + 1]:
        index = position % len(path)
        path = path[:index] + f"%{ord(path[index]):02x}" + path[index + 1 :]
    assert is_reserved(b"/" + path.encode())


RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x\r\n!\r\n0\r\nT: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
]


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@CASES
@given(cuts=st.lists(st.integers(0, 200), max_size=12))
def test_a_response_is_passed_on_alike_in_any_segments(response: bytes, version: bytes, cuts: list[int]) -> None:
    asked = parse_request(b"GET / HTTP/%b\r\nHost: a\r\n" % version)

    def follow(pieces: list[bytes]) -> tuple[bytes, bool, bool]:
        reply = Reply(asked, request_done=True, may_upgrade=False)
        out = b""
        for piece in pieces:
            out += reply.receive(piece)
        if not reply.done:
            out += reply.end_with_connection() or b""
        return (unchunk(out) if version == b"1.1" else out), reply.done, reply.closes_upstream

    assert follow(split(response, cuts)) == follow([response])


def unchunk(data: bytes) -> bytes:
    """Join the chunks that the door made itself: where they end is not part of the meaning."""
    head, _, body = data.partition(b"\r\n\r\n")
    if b"Transfer-Encoding" not in head or b"T: 1" in body:
        return data
    framing = Chunked([])
    framing.feed(body)
    return head + b"".join(framing.payload or [])


def test_pipelined_requests_are_answered_alike_in_any_segments() -> None:
    data = (
        request("/a", to="one", method="POST", body=b"first")
        + request("/b", to="two", method="POST", fields="Transfer-Encoding: chunked\r\n")
        + b"3;x\r\nsec\r\n3\r\nond\r\n0\r\nX: y\r\n\r\n"
        + request("/c", method="HEAD", to="one")
        + request("/d")
        + request("/e", to="gone", method="POST", body=b"lost")
        + request("/init", to="one")
        + request("/f", host="49983-two.e2b.localhost", fields="Connection: close\r\n")
    )

    async def ask(pieces: list[bytes]) -> bytes:
        with tempfile.TemporaryDirectory(prefix="door") as folder:
            async with open_house(Path(folder)) as house:
                await house.add_sandbox("one")
                await house.add_sandbox("two")
                client = await house.connect()
                for piece in pieces:
                    client.writer.write(piece)
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                with contextlib.suppress(ConnectionError):
                    async with asyncio.timeout(10):
                        return await client.read_end()
        raise AssertionError("unreachable")

    whole = asyncio.run(ask([data]))
    assert whole.count(b"HTTP/1.1 ") == 7

    @settings(CASES, max_examples=CASES.max_examples // 8)
    @given(st.lists(st.integers(0, len(data)), max_size=30))
    def check(cuts: list[int]) -> None:
        assert asyncio.run(ask(split(data, cuts))) == whole

    check()
    assert asyncio.run(ask([data[i : i + 1] for i in range(len(data))])) == whole


class Upstream:
    """What the agent's and the API's parser makes of the bytes that it gets."""

    def __init__(self) -> None:
        self.urls: list[bytes] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = 0

    def on_url(self, url: bytes) -> None:
        self.urls.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete += 1


@CASES
@given(st.lists(head_pieces, max_size=10), bodies)
def test_what_is_passed_on_is_exactly_one_request_to_the_upstreams_parser(
    pieces: list[bytes], parts: list[bytes]
) -> None:
    head = b"POST /p HTTP/1.1\r\nHost: a\r\n" + b"".join(pieces)
    try:
        plan = Planner(Site("e2b.localhost")).read(head)
    except (HeadError, RoutingError):
        return
    fields, data = plan.request.fields, b"".join(parts)
    length = fields.content_length or 0
    body = frame(parts, "", []) if fields.chunked else b"x" * length
    seen = Upstream()
    httptools.HttpRequestParser(seen).feed_data(plan.head + b"\r\n" + body)
    assert (seen.urls, seen.complete) == ([plan.request.target], 1)
    assert seen.body == (data if fields.chunked else body)
    names = [name for name, _ in seen.headers]
    assert names.count(b"host") == 1
    assert not {b"connection", b"upgrade", b"te", b"x-sandlot-control"} & set(names)
