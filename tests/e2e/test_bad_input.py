"""Wrong, broken and hostile requests get a clear error or a closed connection: never a hang, never a stack trace."""

from __future__ import annotations

import json
import socket
import time

import pytest
from e2b import Sandbox

from support.live import LiveServer

pytestmark = pytest.mark.docker

JSON = {"Content-Type": "application/json"}


def speak(server: LiveServer, data: bytes, half_close: bool = False, patience_s: float = 20) -> bytes:
    """Send raw bytes and return all that comes back until the connection ends, within `patience_s` seconds."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=patience_s) as client:
        client.sendall(data)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        received = b""
        end = time.monotonic() + patience_s
        try:
            while chunk := client.recv(65536):
                received += chunk
                assert time.monotonic() < end, "the connection stays open"
        except ConnectionResetError:
            pass
        return received


def read_status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_wrong_key(server: LiveServer) -> None:
    status, body = server.call("GET", "/v2/sandboxes", **{"X-API-KEY": "e2b_" + "0" * 40})
    assert status == 401
    assert isinstance(body, dict)
    assert body["code"] == 401
    assert "Invalid API key" in body["message"]


def test_no_key(server: LiveServer) -> None:
    answer = speak(server, b"GET /v2/sandboxes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert read_status(answer) == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sandboxes/inosuch"),
        ("DELETE", "/sandboxes/inosuch"),
        ("POST", "/sandboxes/inosuch/pause"),
    ],
)
def test_an_unknown_sandbox(server: LiveServer, method: str, path: str) -> None:
    status, body = server.call(method, path)
    assert (status, body) == (
        404,
        {"code": 404, "message": "Sandbox \"inosuch\" doesn't exist or you don't have access to it"},
    )


def test_an_unknown_template(server: LiveServer) -> None:
    status, body = server.call("POST", "/v2/sandboxes", {"templateID": "no-such"}, **JSON)
    assert (status, body) == (404, {"code": 404, "message": "template 'no-such' not found"})


def test_an_unknown_route(server: LiveServer) -> None:
    status, body = server.call("GET", "/no/such/route")
    assert status == 404
    assert isinstance(body, dict)
    assert body["code"] == 404


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"text"', b'{"templateID": 5}', b'{"templateID": "base", "timeout": "x"}', b"\xff"]
)
def test_malformed_json(server: LiveServer, body: bytes) -> None:
    head = f"POST /v2/sandboxes HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {server.key}\r\nConnection: close\r\n"
    answer = speak(
        server, f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    assert read_status(answer) == 400
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["code"] == 400
    assert told["message"]


def test_a_field_of_no_built_feature_is_named(server: LiveServer) -> None:
    mounts = [{"name": "data", "path": "/data"}]
    status, body = server.call("POST", "/v2/sandboxes", {"templateID": "base", "volumeMounts": mounts}, **JSON)
    assert 400 <= status < 600
    assert isinstance(body, dict)
    assert "volumeMounts" in body["message"]


@pytest.mark.parametrize("size", [70_000, 10_000_000])
def test_a_huge_head(server: LiveServer, size: int) -> None:
    answer = speak(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * size + b"\r\n\r\n")
    assert not answer or read_status(answer) == 431


def test_a_body_that_is_cut_off(server: LiveServer) -> None:
    head = (
        f"POST /v2/sandboxes HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {server.key}\r\nContent-Length: 1000\r\n\r\n{{"
    )
    answer = speak(server, head.encode(), half_close=True)
    assert not answer or read_status(answer) >= 400


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET http://other/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nE2b-Sandbox-Id: a\r\nE2b-Sandbox-Id: b\r\nE2b-Sandbox-Port: 1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_the_door_refuses(server: LiveServer, request_bytes: bytes) -> None:
    answer = speak(server, request_bytes, half_close=True)
    assert not answer or read_status(answer) in (400, 421)


def test_slow_heads_do_not_keep_others_waiting(server: LiveServer) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    try:
        for one in slow:
            one.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
        status, _ = server.call("GET", "/v2/sandboxes")
        assert status == 200
    finally:
        for one in slow:
            one.close()


def test_errors_of_files(server: LiveServer, sandbox: Sandbox) -> None:
    token = sandbox._envd_access_token  # no public name gives it
    assert token
    mine = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983", "X-Access-Token": token}
    assert server.call("GET", "/files?path=/etc", **mine) == (
        400,
        {"code": 400, "message": "path '/etc' is a directory"},
    )
    status, body = server.call("GET", "/files?path=/no/such", **mine)
    assert (status, body) == (404, {"code": 404, "message": "path '/no/such' does not exist"})
    status, body = server.call("GET", "/files?path=/etc/passwd", **{**mine, "X-Access-Token": "wrong"})
    assert status == 401
    for reserved in ("/init", "/freeze", "/%69nit", "//init", "/tunnel?port=22"):
        status, body = server.call("POST", reserved, {}, **mine)
        assert status == 404, reserved
        assert isinstance(body, dict)
        assert "reserved" in body["message"]


def test_the_two_answers_for_what_is_not_there(server: LiveServer, sandbox: Sandbox) -> None:
    gone = {"E2b-Sandbox-Id": "inosuch", "E2b-Sandbox-Port": "49983"}
    assert server.call("GET", "/health", **gone) == (
        502,
        {"sandboxId": "inosuch", "message": "The sandbox was not found", "code": 502},
    )
    closed = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "8123"}
    message = "The sandbox is running but port is not open"
    assert server.call("GET", "/", **closed) == (
        502,
        {"sandboxId": sandbox.sandbox_id, "message": message, "port": 8123, "code": 502},
    )
