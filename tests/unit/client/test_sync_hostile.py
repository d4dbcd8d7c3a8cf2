# Generated from tests/unit/client/test_async_hostile.py by sandlot._dev.unasync: change that file, not this one.
"""A server that does not keep to the protocol gives a named exception, within its time."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sandlot import (
    AuthenticationException,
    FileNotFoundException,
    InvalidArgumentException,
    NotEnoughSpaceException,
    ProtocolException,
    RateLimitException,
    Sandbox,
    SandboxException,
    SandboxNotRunningException,
    SandboxUnreachableException,
    ServerUnreachableException,
    TemplateException,
    TimeoutException,
)
from support.fake_server import (
    END,
    SANDBOX,
    Answer,
    FakeServer,
    cut,
    end_error,
    frame,
    raw,
    reply,
    silence,
    stream,
)

GONE = reply(502, {"sandboxId": "isandbox", "message": "The sandbox was not found", "code": 502})
CLOSED = reply(502, {"message": "The sandbox is running but port is not open", "port": 49983, "code": 502})
START = "process.Process/Start"
LIST = "process.Process/List"
STARTED = {"event": {"start": {"pid": 5}}}
HELLO = {"event": {"data": {"stdout": "aGk="}}}
ENDED = {"event": {"end": {"exited": True}}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(201, b"{not json"), ProtocolException),
        (reply(201, b""), ProtocolException),
        (reply(201, []), ProtocolException),
        (reply(201, {"sandboxID": "i"}), ProtocolException),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n", close=True), ProtocolException),
        (raw(b"HTTP/1.1 201 Created\r\nX: " + b"y" * 100_000), ProtocolException),
        (raw(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), ProtocolException),
        (raw(b"HTTP/1.1 201 Created\r\nContent-Length: 50\r\n\r\n{", close=True), ServerUnreachableException),
        (raw(b"HTTP/1.1 20", close=True), ServerUnreachableException),
        (cut(), ServerUnreachableException),
        (silence(), TimeoutException),
        (raw(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\n{"), TimeoutException),
    ],
)
def test_the_api(server: FakeServer, answer: Answer, expected: type[Exception]) -> None:
    server.on("POST", "/v2/sandboxes", answer)
    started = time.monotonic()
    with pytest.raises(expected):
        Sandbox.create(request_timeout=0.5, **server.opts)
    assert time.monotonic() - started < 2


def test_an_old_server_is_named_by_what_it_lacks(server: FakeServer) -> None:
    server.on("POST", "/v2/sandboxes", reply(404, b"404 page not found"))
    with pytest.raises(SandboxException, match="404: 404 page not found"):
        Sandbox.create(**server.opts)


def test_no_server_at_all() -> None:
    with pytest.raises(ServerUnreachableException, match=r"No server answers at http://127\.0\.0\.1:9"):
        Sandbox.create(api_url="http://127.0.0.1:9", api_key="k")


def test_no_server_on_this_machine_says_how_to_start_one(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDLOT_HOME", str(tmp_path))
    (tmp_path / "url").write_text("http://127.0.0.1:9\n")
    with pytest.raises(AuthenticationException, match="sandlot serve"):
        Sandbox.create()
    (tmp_path / "key").write_text("e2b_0\n")
    with pytest.raises(ServerUnreachableException, match="sandlot serve"):
        Sandbox.create()


def test_a_host_that_does_not_resolve() -> None:
    with pytest.raises(ServerUnreachableException, match=r"nowhere\.invalid"):
        Sandbox.create(api_url="http://nowhere.invalid", api_key="k")


@pytest.mark.parametrize(
    ("answer", "expected", "message"),
    [
        (GONE, SandboxNotRunningException, "was not found"),
        (CLOSED, SandboxUnreachableException, "port is not open"),
        (reply(502, b"Bad Gateway"), SandboxUnreachableException, "Bad Gateway"),
        (reply(403, {"message": "no token"}), SandboxException, "permission_denied"),
        (reply(400, {"code": "invalid_argument", "message": "odd"}), InvalidArgumentException, "odd"),
        (reply(401, {"code": 401, "message": "no"}), AuthenticationException, "no"),
        (reply(429, {"code": "resource_exhausted", "message": "slow"}), RateLimitException, "slow"),
        (reply(501, {"code": "unimplemented", "message": "what?"}), SandboxException, "unimplemented: what"),
        (reply(418, b""), SandboxException, "unknown: HTTP 418"),
        (reply(200, b"{nope"), ProtocolException, "not JSON"),
        (reply(200, [1]), ProtocolException, "not a JSON object"),
        (reply(200, {"processes": [{"tag": "no pid"}]}), ProtocolException, "pid"),
        (reply(200, {"processes": 5}), ProtocolException, "List"),
        (cut(), SandboxUnreachableException, "though the sandbox runs"),
        (silence(), TimeoutException, "request_timeout"),
    ],
)
def test_a_call_of_the_agent(server: FakeServer, answer: Answer, expected: type[Exception], message: str) -> None:
    server.on_rpc(LIST, answer)
    sandbox = Sandbox.create(**server.opts)
    with pytest.raises(expected, match=message):
        sandbox.commands.list(request_timeout=0.5)


@pytest.mark.parametrize(
    ("answer", "expected", "message"),
    [
        (GONE, SandboxNotRunningException, "was not found"),
        (stream(end_error("not_found", "no pid")), SandboxException, "no pid"),
        (stream(end_error("deadline_exceeded", "late")), TimeoutException, "late"),
        (stream(STARTED, HELLO, end_error("canceled", "stop")), TimeoutException, "stop"),
        (
            stream(STARTED, HELLO, end_error("unavailable", "The sandbox was not found")),
            SandboxNotRunningException,
            "was not",
        ),
        (stream(STARTED, HELLO, end_error("data_loss", "")), SandboxException, "data_loss"),
        (stream(STARTED, HELLO, END), ProtocolException, "without telling"),
        (stream(END), ProtocolException, "began with"),
        (stream(HELLO, END), ProtocolException, "began with"),
        (stream({"event": {"start": {}}}), ProtocolException, "began with"),
        (stream(STARTED, {"event": {"data": {"stdout": "*"}}}), ProtocolException, "base64"),
        (stream(STARTED, {"event": None}), ProtocolException, "no event"),
        (stream(STARTED, frame(b"{nope")), ProtocolException, "not JSON"),
        (stream(STARTED, frame({}, 1)), ProtocolException, "flags 1"),
        (stream(STARTED, b"\0\xff\xff\xff\xff"), ProtocolException, "4294967295 bytes"),
        (stream(STARTED, then=silence()), TimeoutException, "timeout"),
        (stream(then=silence()), TimeoutException, "timeout"),
        (silence(), TimeoutException, "timeout"),
        (stream(STARTED, then=raw(b"zz\r\n")), ProtocolException, "HTTP"),
        (stream(STARTED, HELLO, then=raw(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", close=True)), ProtocolException, "HTTP"),
    ],
)
def test_a_stream_of_the_agent(server: FakeServer, answer: Answer, expected: type[Exception], message: str) -> None:
    server.on_rpc(START, answer)
    sandbox = Sandbox.create(**server.opts)
    with pytest.raises(expected, match=message):
        sandbox.commands.run("true", timeout=0.5)


@pytest.mark.parametrize("broken", [cut(), raw(b"", close=True), raw(b"0\r\n\r\n")])
def test_a_stream_that_breaks_is_explained_by_the_health_of_the_sandbox(server: FakeServer, broken: Answer) -> None:
    server.on_rpc(START, stream(STARTED, HELLO, then=broken))
    sandbox = Sandbox.create(**server.opts)
    for health, expected, message in [
        (GONE, SandboxNotRunningException, "was killed or reached its end of life"),
        (CLOSED, SandboxUnreachableException, "port is not open"),
        (reply(204), SandboxUnreachableException, "though the sandbox runs"),
        (cut(), SandboxUnreachableException, "health failed too"),
    ]:
        server.on("GET", "/health", health)
        with pytest.raises(expected, match=message):
            sandbox.commands.run("true")


def test_an_unclear_refusal_is_explained_by_the_health_of_the_sandbox(server: FakeServer) -> None:
    server.on_rpc(START, stream(STARTED, end_error("unavailable", "upstream went away")))
    sandbox = Sandbox.create(**server.opts)
    server.on("GET", "/health", GONE)
    with pytest.raises(SandboxNotRunningException, match="end of life"):
        sandbox.commands.run("true")
    server.on("GET", "/health", reply(204))
    with pytest.raises(SandboxUnreachableException, match="upstream went away"):
        sandbox.commands.run("true")


def test_a_sandbox_behind_nothing(server: FakeServer) -> None:
    sandbox = Sandbox.create(sandbox_url="http://127.0.0.1:9", **server.opts)
    with pytest.raises(SandboxUnreachableException, match=r"Nothing answers at http://127\.0\.0\.1:9"):
        sandbox.files.read("a")
    with pytest.raises(SandboxUnreachableException, match="E2B_SANDBOX_URL"):
        sandbox.is_running()


def test_is_running_tells_what_it_cannot_know(server: FakeServer) -> None:
    server.on("GET", "/health", GONE, reply(502, b"?"), reply(500, {"message": "oops"}), silence())
    sandbox = Sandbox.create(**server.opts)
    assert sandbox.is_running() is False
    assert sandbox.is_running() is False
    with pytest.raises(SandboxException, match="500: oops"):
        sandbox.is_running()
    with pytest.raises(TimeoutException):
        sandbox.is_running(request_timeout=0.2)


@pytest.mark.parametrize(
    ("answer", "expected", "message"),
    [
        (reply(400, {"message": "a directory"}), InvalidArgumentException, "a directory"),
        (reply(401, {"code": 401, "message": "no"}), AuthenticationException, "no"),
        (reply(404, {"message": "path '/a' does not exist"}), FileNotFoundException, "does not exist"),
        (reply(429, b"slow"), RateLimitException, "slow"),
        (reply(500, b"oops"), SandboxException, "500: oops"),
        (reply(507, {"message": "full"}), NotEnoughSpaceException, "full"),
        (GONE, SandboxNotRunningException, "was not found"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", close=True), SandboxUnreachableException, "middle"),
        (reply(200, b"no gzip", Content_Encoding="gzip"), ProtocolException, "gzip"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), TimeoutException, "request_timeout"),
    ],
)
def test_reading_a_file(server: FakeServer, answer: Answer, expected: type[Exception], message: str) -> None:
    server.on("GET", "/files", answer)
    sandbox = Sandbox.create(**server.opts)
    with pytest.raises(expected, match=message):
        sandbox.files.read("a", request_timeout=0.5)


def test_a_download_that_stalls(server: FakeServer) -> None:
    server.on("GET", "/files", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"))
    sandbox = Sandbox.create(**server.opts)
    file = sandbox.files.read("a", format="stream", stream_idle_timeout=0.2)
    assert next(file) == b"abc"
    with pytest.raises(SandboxUnreachableException, match=r"nothing came or went for 0\.2 s"):
        next(file)


@pytest.mark.parametrize(
    "answer", [reply(200, []), reply(200, {}), reply(200, b"x"), reply(200, [{}]), reply(200, [{"name": 1}])]
)
def test_an_upload_whose_answer_is_odd(server: FakeServer, answer: Answer) -> None:
    server.on("POST", "/files", answer)
    sandbox = Sandbox.create(**server.opts)
    with pytest.raises(ProtocolException, match="upload"):
        sandbox.files.write("a", b"")


def test_an_upload_that_is_refused_at_once(server: FakeServer) -> None:
    refused = reply(507, {"message": "disk is full"})
    server.on_head = {"/files": refused}
    sandbox = Sandbox.create(**server.opts)
    for data in (b"x" * 50_000_000, "ä" * 10_000_000):
        with pytest.raises(NotEnoughSpaceException, match="disk is full"):
            sandbox.files.write("a", data)


def test_an_old_agent_is_asked_for_nothing_it_cannot_do(server: FakeServer) -> None:
    server.on("POST", "/v2/sandboxes", reply(201, {**SANDBOX, "envdVersion": "0.1.3"}))
    server.on_rpc(LIST, reply(200, {}))
    sandbox = Sandbox.create(**server.opts)
    assert sandbox.commands.list() == []
    assert server.last("/" + LIST).headers["authorization"] == "Basic dXNlcjo="
    with pytest.raises(TemplateException, match=r"0\.5\.2"):
        sandbox.commands.close_stdin(1)
    with pytest.raises(TemplateException, match=r"0\.3\.0"):
        sandbox.commands.run("true", stdin=False)
    with pytest.raises(TemplateException, match=r"0\.5\.7"):
        sandbox.files.write("a", b"", gzip=True)
    with pytest.raises(TemplateException, match=r"0\.6\.2"):
        sandbox.files.write("a", b"", metadata={"a": "b"})
    with pytest.raises(TemplateException, match=r"0\.1\.5"):
        sandbox.get_metrics()


def test_answers_that_ask_for_it_are_tried_again(server: FakeServer) -> None:
    busy = reply(503, {"message": "full"}, Retry_After="0")
    server.on("POST", "/v2/sandboxes", busy, reply(429, b"", Retry_After="0"), reply(201, SANDBOX))
    Sandbox.create(idempotency_key="one", **server.opts)
    assert [request.headers["idempotency-key"] for request in server.requests] == ["one"] * 3


@pytest.mark.parametrize(
    ("status", "headers", "calls"),
    [
        (503, {"Should_Retry": "false"}, 1),
        (500, {}, 1),
        (500, {"Should_Retry": "true", "Retry_After": "0"}, 3),
        (503, {"Retry_After": "3600"}, 1),
        (504, {"Retry_After": "soon"}, 3),
    ],
)
def test_when_to_try_again(server: FakeServer, status: int, headers: dict[str, str], calls: int) -> None:
    server.on("POST", "/v2/sandboxes", reply(status, {"message": "no"}, **headers))
    with pytest.raises(Exception, match="no"):
        Sandbox.create(retries=2, **server.opts)
    assert server.count("/v2/sandboxes") == calls


def test_a_kept_connection_that_ended_is_not_used_again(server: FakeServer) -> None:
    server.on("GET", "/health", raw(b"HTTP/1.1 204 No Content\r\n\r\n", close=True))
    sandbox = Sandbox.create(**server.opts)
    for _ in range(3):
        assert sandbox.is_running()
    assert server.connections == 3


def test_bytes_that_nobody_asked_for_end_the_connection(server: FakeServer) -> None:
    server.on("GET", "/health", raw(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n"))
    sandbox = Sandbox.create(**server.opts)
    assert sandbox.is_running()
    assert sandbox.is_running()


def test_silence_between_keepalives_is_borne(server: FakeServer) -> None:
    keepalive = {"event": {"keepalive": {}}}
    server.on_rpc(START, stream(STARTED, keepalive, HELLO, keepalive, ENDED, END))
    sandbox = Sandbox.create(**server.opts)
    assert (sandbox.commands.run("echo hi")).stdout == "hi"
