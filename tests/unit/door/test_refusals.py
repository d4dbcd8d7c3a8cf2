"""Requests that two readers could understand differently are understood by nobody: refused, and the door closes."""

from __future__ import annotations

import json

import pytest

from support.door import House, request, wait_for

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\nE2b-Sandbox-Id: two\r\nE2b-Sandbox-Port: 49983\r\n\r\n"
HOST = b"Host: localhost\r\n"
ONE = b"E2b-Sandbox-Id: one\r\nE2b-Sandbox-Port: 49983\r\n"

GET = b"GET / HTTP/1.1\r\n" + HOST + ONE
POST = b"POST / HTTP/1.1\r\n" + HOST + ONE
CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    "no host": b"GET / HTTP/1.1\r\n" + ONE + b"\r\n",
    "empty host": b"GET / HTTP/1.1\r\nHost:\r\n" + ONE + b"\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST + b"Host: 49983-two.e2b.localhost\r\n\r\n",
    "two equal hosts": b"GET / HTTP/1.1\r\n" + HOST + HOST + ONE + b"\r\n",
    "two sandbox ids": GET + b"E2b-Sandbox-Id: two\r\n\r\n",
    "two sandbox ports": GET + b"e2b-sandbox-port: 80\r\n\r\n",
    "two access tokens": GET + b"X-Access-Token: a\r\nx-access-token: b\r\n\r\n",
    "two traffic tokens": GET + b"E2b-Traffic-Access-Token: a\r\nE2b-Traffic-Access-Token: b\r\n\r\n",
    "absolute form, other host": b"GET http://49983-two.e2b.localhost/ HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "absolute form, other port": b"GET http://localhost:81/ HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "absolute form, user": b"GET http://localhost@evil/ HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "absolute form, scheme": b"GET ftp://localhost/ HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "authority form": b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "asterisk": b"GET * HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "relative target": b"GET health HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "fragment": b"GET /init#x HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "space in target": b"GET /a b HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "tab as separator": b"GET\t/ HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "no version": b"GET /\r\n" + HOST + ONE + b"\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\n" + HOST + ONE + b"\r\n",
    "lower-case version": b"GET / http/1.1\r\n" + HOST + ONE + b"\r\n",
    "non-ASCII target": b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + ONE + b"\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "two equal lengths": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345",
    "list of lengths": POST + b"Content-Length: 5, 5\r\n\r\n12345",
    "signed length": POST + b"Content-Length: +5\r\n\r\n12345",
    "negative length": POST + b"Content-Length: -5\r\n\r\n",
    "hex length": POST + b"Content-Length: 0x5\r\n\r\n12345",
    "length with underscore": POST + b"Content-Length: 1_0\r\n\r\n",
    "huge length": POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "empty length": POST + b"Content-Length: \r\n\r\n",
    "length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two encodings": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "list of encodings": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "encoding in disguise": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "encoding with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "encoding in HTTP/1.0": b"POST / HTTP/1.0\r\n" + HOST + ONE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "space before name": b"GET / HTTP/1.1\r\n" + HOST + b" X: y\r\n" + ONE + b"\r\n",
    "folded line": GET + b"X: y\r\n z\r\n\r\n",
    "folded with tab": GET + b"X: y\r\n\tz\r\n\r\n",
    "no colon": GET + b"nonsense\r\n\r\n",
    "empty name": GET + b": x\r\n\r\n",
    "name with a quote": GET + b'X"Y: x\r\n\r\n',
    "non-ASCII name": GET + b"X\xe9: x\r\n\r\n",
    "bare LF in the line": b"GET / HTTP/1.1\n" + HOST + ONE + b"\r\n",
    "bare LF in the fields": b"GET / HTTP/1.1\r\n" + HOST + b"X: y\nZ: z\r\n" + ONE + b"\r\n",
    "bare LF at the end": GET + b"X: y\r\n\n",
    "bare CR": GET + b"X: y\rZ: z\r\n\r\n",
    "NUL in a value": GET + b"X: y\0z\r\n\r\n",
    "DEL in a value": GET + b"X: y\x7fz\r\n\r\n",
    "Connection names the length": POST + b"Connection: content-length\r\nContent-Length: 5\r\n\r\n12345",
    "Connection names the host": GET + b"Connection: close, Host\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100,
    "chunk size with a sign": CHUNKS + b"+5\r\nhello\r\n",
    "chunk size in hex notation": CHUNKS + b"0x5\r\nhello\r\n",
    "chunk size with a space": CHUNKS + b" 5\r\nhello\r\n",
    "chunk size that overflows": CHUNKS + b"10000000000000000000005\r\nhello\r\n",
    "chunk line ends in LF": CHUNKS + b"5\nhello\r\n0\r\n\r\n",
    "chunk extension with LF": CHUNKS + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "chunk longer than it says": CHUNKS + b"5\r\nhelloXX0\r\n\r\n",
    "bare LF after a chunk": CHUNKS + b"5\r\nhello\n0\r\n\r\n",
    "bare LF ends the trailers": CHUNKS + b"0\r\nX: y\n\r\n",
    "folded trailer": CHUNKS + b"0\r\nX: y\r\n z\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_attack(house: House, name: str) -> None:
    await house.add_sandbox("one")
    two = await house.add_sandbox("two")
    client = await house.connect()
    await client.send(REFUSED[name])
    answer = await client.read_answer()
    assert 400 <= answer.status < 600
    assert answer.status != 502
    assert answer.headers["connection"] == "close"
    if answer.headers["content-type"].startswith("application/json"):
        assert json.loads(answer.body)["code"] == answer.status
    # What follows on the connection is nobody's request.
    client.writer.write(SMUGGLED)
    assert await client.read_end() == b""
    assert two.requests == []
    assert house.api.requests == []
    assert house.door.stats.active == 0


async def test_a_head_in_small_pieces_is_refused_as_soon_as_it_cannot_be_one(house: House) -> None:
    client = await house.connect()
    await client.send(b"GET / HT")
    await client.send(b"TP/1.1\n")
    assert (await client.read_answer()).status == 400


async def test_heads_up_to_64_kb_pass_and_larger_ones_do_not(house: House) -> None:
    service = await house.add_sandbox("one")
    client = await house.connect()
    assert (await client.ask(request(to="one", fields="X: " + "y" * 60_000 + "\r\n"))).status == 200
    answer = await client.ask(request(to="one", fields="X: " + "y" * 66_000 + "\r\n"))
    assert answer.status == 431
    client = await house.connect()
    client.writer.write(b"GET / HTTP/1.1\r\nX: " + b"y" * 10_000_000)  # and no end
    assert (await client.read_answer()).status == 431
    assert len(service.requests) == 1


async def test_what_the_upstream_gets_of_a_head(house: House) -> None:
    service = await house.add_sandbox("one")
    fields = (
        "Connection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nTE: trailers\r\nUpgrade: h2c\r\n"
        "Proxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nX-Sandlot-Control: stolen\r\n"
        "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Kept: a\r\nX-Kept: b\r\nCookie: c=\xe9\r\n"
    )
    await house.ask(request("/p?q=%41", to="one", fields=fields))
    seen = service.requests[0]
    assert seen.target == "/p?q=%41"
    assert seen.headers == [
        ("Host", "127.0.0.1:3000"),
        ("E2b-Sandbox-Id", "one"),
        ("E2b-Sandbox-Port", "49983"),
        ("X-Kept", "a"),
        ("X-Kept", "b"),
        ("Cookie", "c=\xe9"),
    ]


async def test_the_api_is_told_who_asks_and_how(house: House) -> None:
    await house.ask(request(fields="X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n"))
    seen = house.api.requests[0]
    assert seen.header("x-forwarded-for") == "127.0.0.1"
    assert seen.header("x-forwarded-proto") == "http"


async def test_an_absolute_target_that_agrees_becomes_an_origin_target(house: House) -> None:
    service = await house.add_sandbox("one")
    for target, seen in (("http://LOCALHOST/a?b", "/a?b"), ("http://localhost", "/"), ("http://localhost?x", "/?x")):
        await house.ask(request(target, host="localhost:80", to="one"))
        assert service.requests[-1].target == seen


async def test_a_body_cut_off_is_cut_off_for_the_upstream(house: House) -> None:
    service = await house.add_sandbox("one")
    for fields, body in (("Content-Length: 10\r\n", b"12345"), ("Transfer-Encoding: chunked\r\n", b"5\r\nhel")):
        lost = service.lost
        client = await house.connect()
        await client.send(request(method="POST", to="one", fields=fields) + body)
        await wait_for(lambda: bool(service.requests))
        await client.close()
        await wait_for(lambda lost=lost: service.lost > lost)  # type: ignore[misc]


@pytest.mark.parametrize(
    "path",
    [
        "/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade", "/tunnel?port=22", "/init/",
        "//init", "/./init", "/x/../init", "/INIT", "/%69nit", "/%2569nit", "/%252569nit", "/init;x=y", "/;/init",
        "/%2finit", "/..%2finit", "/x%2f..%2finit", "\\init", "/\\init", "/%5cinit", "/init%00", "/init%20",
        "/init%3fx", "/init%23x", "/init?x", "/%2e/init", "/%2e%2e/init", "/init/.", "/init/x/..", "/init%2f",
    ],
)  # fmt: skip
async def test_reserved_routes_stay_reserved_however_they_are_written(house: House, path: str) -> None:
    service = await house.add_sandbox("one")
    for method in ("GET", "POST", "OPTIONS"):
        answer = await house.ask(request(path, method=method, to="one"))
        if path.startswith("\\"):
            assert answer.status == 400  # no target at all
        elif method != "OPTIONS":
            assert answer.status == 404
            body = json.loads(answer.body)
            assert body["code"] == 404
            assert "path" in body
            assert "reserved" in body["message"]
    assert service.requests == []


async def test_other_paths_are_not_reserved_and_other_ports_have_none(house: House) -> None:
    service = await house.add_sandbox("one")
    web = await house.add_service("web")
    for path in ("/initial", "/init.txt", "/a/init", "/files?path=/init", "/files?path=%2finit", "/.well-known/x"):
        assert (await house.ask(request(path, to="one"))).status == 200
    assert len(service.requests) == 6
    assert (await house.ask(request("/init", to="one", port=web.port))).body == b"web GET /init "
