# Generated from tests/unit/client/test_async_files.py by sandlot._dev.unasync: change that file, not this one.
"""Files against a server that answers as it is told."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from sandlot import (
    EntryInfo,
    FileNotFoundException,
    FileType,
    InvalidArgumentException,
    Sandbox,
    SandboxException,
    WriteInfo,
)
from support.fake_server import FakeServer, raw, reply

FS = "filesystem.Filesystem/"
WRITTEN = {"name": "a", "path": "/home/user/a", "type": "file"}
ENTRY = {
    "name": "a",
    "type": "FILE_TYPE_FILE",
    "path": "/home/user/a",
    "size": "5",
    "mode": 420,
    "permissions": "-rw-r--r--",
    "owner": "user",
    "group": "user",
    "modifiedTime": "2026-01-02T03:04:05.000000001Z",
    "metadata": {"k": "v"},
}


@pytest.fixture
def sandbox(server: FakeServer) -> Sandbox:
    server.on("POST", "/files", reply(200, [WRITTEN]))
    return Sandbox.create(**server.opts)


def test_read(server: FakeServer, sandbox: Sandbox) -> None:
    server.on("GET", "/files", reply(200, "grün\ufffd".encode() + b"\xff"))
    assert sandbox.files.read("a&b c", user="root") == "grün\ufffd\ufffd"
    request = server.last("/files")
    assert request.query == "path=a%26b%20c&username=root"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["x-access-token"] == "token"
    content = sandbox.files.read("a", format="bytes")
    assert type(content) is bytearray
    assert content.endswith(b"\xff")
    server.on("GET", "/files", reply(200, b""))
    assert sandbox.files.read("a") == ""
    with pytest.raises(InvalidArgumentException, match="format"):
        sandbox.files.read("a", format="lines")  # type: ignore[call-overload]


def test_read_compressed(server: FakeServer, sandbox: Sandbox) -> None:
    server.on("GET", "/files", reply(200, gzip.compress(b"x" * 1000), Content_Encoding="gzip"))
    assert sandbox.files.read("a", gzip=True) == "x" * 1000
    assert server.last("/files").headers["accept-encoding"] == "gzip"
    with sandbox.files.read("a", format="stream", gzip=True) as stream:
        assert b"".join(list(stream)) == b"x" * 1000


def test_read_as_a_stream(server: FakeServer, sandbox: Sandbox) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    server.on("GET", "/files", raw(chunked))
    stream = sandbox.files.read("a", format="stream")
    assert b"".join(list(stream)) == b"abcde"
    sandbox.files.read("a")
    assert server.connections == 1
    server.on("GET", "/files", reply(404, {"message": "no"}))
    with pytest.raises(FileNotFoundException):
        sandbox.files.read("a", format="stream")


def test_a_stream_given_up_ends_its_connection(server: FakeServer, sandbox: Sandbox) -> None:
    server.on("GET", "/files", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"))
    with sandbox.files.read("a", format="stream") as stream:
        assert next(stream) == b"abc"
    stream.close()
    assert sandbox.is_running()
    assert server.connections == 2


def test_write(server: FakeServer, sandbox: Sandbox) -> None:
    info = sandbox.files.write("a", "grün", user="root", metadata={"K": "v"})
    assert info == WriteInfo(name="a", type=FileType.FILE, path="/home/user/a")
    request = server.last("/files")
    assert (request.query, request.body) == ("path=a&username=root", "grün".encode())
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.headers["x-metadata-k"] == "v"
    server.on("POST", "/files", reply(200, [{**WRITTEN, "metadata": {"k": "v"}}]))
    assert (sandbox.files.write("a", b"")).metadata == {"k": "v"}


@pytest.mark.parametrize(
    "data", [b"raw", bytearray(b"raw"), memoryview(b"raw"), "raw", io.BytesIO(b"raw"), io.StringIO("raw")]
)
def test_write_takes_all_kinds_of_data(server: FakeServer, sandbox: Sandbox, data: Any) -> None:
    sandbox.files.write("a", data)
    assert server.last("/files").body == b"raw"


def test_write_from_an_iterable(server: FakeServer, sandbox: Sandbox) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        yield b""
        yield b"two"

    sandbox.files.write("a", pieces())
    request = server.last("/files")
    assert (request.body, request.headers["transfer-encoding"]) == (b"onetwo", "chunked")
    sandbox.files.write("a", pieces(), gzip=True)
    assert gzip.decompress(server.last("/files").body) == b"onetwo"


def test_a_file_that_cannot_be_read_ends_the_upload(server: FakeServer, sandbox: Sandbox) -> None:
    def pieces() -> Iterator[Any]:
        yield b"one"
        yield 2

    with pytest.raises(InvalidArgumentException, match="int"):
        sandbox.files.write("a", pieces())
    assert sandbox.is_running()


def test_write_compressed(server: FakeServer, sandbox: Sandbox) -> None:
    for data in ("text", io.BytesIO(b"text")):
        sandbox.files.write("a", data, gzip=True)
        request = server.last("/files")
        assert request.headers["content-encoding"] == "gzip"
        assert zlib.decompress(request.body, 31) == b"text"


def test_write_files_goes_in_one_request_if_it_can(server: FakeServer, sandbox: Sandbox) -> None:
    server.on("POST", "/files", reply(200, [WRITTEN, {**WRITTEN, "name": "b"}]))
    names = [
        info.name for info in sandbox.files.write_files([{"path": "d/a", "data": "1"}, {"path": "b", "data": b"2"}])
    ]
    assert names == ["a", "b"]
    request = server.last("/files")
    assert request.query == ""
    assert b'name="file"; filename="d/a"' in request.body
    assert request.body.count(b"--" + request.headers["content-type"].partition("boundary=")[2].encode()) == 3


@pytest.mark.parametrize("second", [{"path": 'q"', "data": b"2"}, {"path": "b", "data": io.BytesIO(b"2")}])
def test_write_files_goes_one_by_one_if_it_must(server: FakeServer, sandbox: Sandbox, second: Any) -> None:
    assert len(sandbox.files.write_files([{"path": "a", "data": b"1"}, second])) == 2
    assert sorted(request.body for request in server.requests if request.path == "/files") == [b"1", b"2"]


def test_a_single_file_can_be_sent_as_a_form(server: FakeServer, sandbox: Sandbox) -> None:
    sandbox.files.write("ü", io.BytesIO(b"1"), use_octet_stream=False)
    request = server.last("/files")
    assert request.query == "path=%C3%BC"
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b"\r\n\r\n1\r\n--" in request.body


def test_nothing_to_write_asks_nobody(server: FakeServer, sandbox: Sandbox) -> None:
    assert sandbox.files.write_files([]) == []
    assert server.count("/files") == 0


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (5, {}, "data of 'a'"),
        (None, {}, "data of 'a'"),
        (b"", {"metadata": {"a b": "c"}}, "metadata key"),
        (b"", {"metadata": {"a": "ä"}}, "metadata value"),
        (b"", {"gzip": True, "use_octet_stream": False}, "gzip"),
    ],
)
def test_writes_that_are_refused(server: FakeServer, sandbox: Sandbox, data: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentException, match=message):
        sandbox.files.write("a", data, **options)
    assert server.count("/files") == 0


def test_entries(server: FakeServer, sandbox: Sandbox) -> None:
    entry = EntryInfo(
        name="a",
        type=FileType.FILE,
        path="/home/user/a",
        size=5,
        mode=0o644,
        permissions="-rw-r--r--",
        owner="user",
        group="user",
        modified_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        metadata={"k": "v"},
    )
    link = {**ENTRY, "isSymlink": True, "symlinkTarget": "/b"}
    server.on_rpc(FS + "Stat", reply(200, {"entry": ENTRY})).on_rpc(FS + "Move", reply(200, {"entry": ENTRY}))
    server.on_rpc(FS + "ListDir", reply(200, {"entries": [ENTRY, link, {**ENTRY, "type": "FILE_TYPE_UNSPECIFIED"}]}))
    assert sandbox.files.get_info("a") == entry
    assert sandbox.files.rename("b", "a") == entry
    assert server.last("/" + FS + "Move").json == {"source": "b", "destination": "a"}
    first, second = sandbox.files.list(".", depth=2, user="root")
    assert first == entry
    assert (second.type, second.symlink_target) == (FileType.SYMLINK, "/b")
    request = server.last("/" + FS + "ListDir")
    assert request.json == {"path": ".", "depth": 2}
    assert request.headers["authorization"] == "Basic cm9vdDo="
    with pytest.raises(InvalidArgumentException, match="depth"):
        sandbox.files.list(".", depth=0)


def test_what_is_not_there(server: FakeServer, sandbox: Sandbox) -> None:
    missing = reply(404, {"code": "not_found", "message": "file not found: a"})
    for method in ("Stat", "Move", "ListDir"):
        server.on_rpc(FS + method, missing)
    assert sandbox.files.exists("a") is False


def test_directories(server: FakeServer, sandbox: Sandbox) -> None:
    exists = reply(409, {"code": "already_exists", "message": "it is there"})
    server.on_rpc(
        FS + "MakeDir", reply(200, {"entry": ENTRY}), exists, reply(500, {"code": "internal", "message": "x"})
    )
    server.on_rpc(FS + "Remove", reply(200, {}))
    assert sandbox.files.make_dir("d") is True
    assert sandbox.files.make_dir("d") is False
    with pytest.raises(SandboxException, match="internal: x"):
        sandbox.files.make_dir("d")
    sandbox.files.remove("d")
    assert server.last("/" + FS + "Remove").json == {"path": "d"}
