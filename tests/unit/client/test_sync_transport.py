# Generated from tests/unit/client/test_async_transport.py by sandlot._dev.unasync: change that file, not this one.
"""The way to the server: TLS, proxies, names, connections kept."""

from __future__ import annotations

import io
import ssl
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from sandlot import (
    NotEnoughSpaceException,
    ProtocolException,
    Sandbox,
    ServerUnreachableException,
    TimeoutException,
)
from support.fake_server import SANDBOX, FakeServer, raw, reply, swallow
from support.messages import output, program
from support.proxy import Proxy
from support.silence import unanswered

START = "process.Process/Start"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[FakeServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("*.e2b.localhost", "127.0.0.1").configure_cert(context)
    with FakeServer(tls=context) as server:
        yield server


@pytest.mark.usefixtures("trusted")
def test_tls(tls_server: FakeServer) -> None:
    content = bytes(range(256)) * 4000
    tls_server.on_rpc(START, program(output(stdout=b"x" * 100_000)))
    tls_server.on("POST", "/files", reply(200, [{"name": "a", "path": "/a"}])).on("GET", "/files", reply(200, content))
    sandbox = Sandbox.create(**tls_server.opts)
    assert len((sandbox.commands.run("x")).stdout) == 100_000
    assert sandbox.files.read("a", format="bytes") == content
    sandbox.files.write("a", content)
    assert tls_server.last("/files").body == content
    assert sandbox.get_mcp_url().startswith("https://50005-isandbox.")
    assert tls_server.connections == 1


@pytest.mark.usefixtures("trusted")
def test_tls_news_that_is_no_answer(tls_server: FakeServer) -> None:
    """Session tickets come unasked, before or while the first request is sent."""
    tls_server.on("POST", "/files", reply(200, [{"name": "a", "path": "/a"}]))
    for number in range(5):
        url = f"https://{number}.e2b.localhost:{tls_server.port}"
        sandbox = Sandbox.create(sandbox_url=url, request_timeout=5, **tls_server.opts)
        sandbox.files.write("a", io.BytesIO(b"x" * 600_000))
        assert tls_server.last("/files").body == b"x" * 600_000
        sandbox.is_running()
    assert tls_server.connections == 6


def test_the_authority_of_this_machines_server_is_trusted_for_its_names(
    tls_server: FakeServer, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDLOT_HOME", str(tmp_path))
    (tmp_path / "tls" / "e2b.localhost").mkdir(parents=True)
    authority.cert_pem.write_to_path(tmp_path / "tls" / "e2b.localhost" / "ca.pem")
    Sandbox.create(**tls_server.opts)
    with pytest.raises(ServerUnreachableException, match="SSL_CERT_FILE"):
        Sandbox.create(api_url=f"https://127.0.0.1:{tls_server.port}", api_key="k")


def test_an_untrusted_certificate(tls_server: FakeServer) -> None:
    with pytest.raises(ServerUnreachableException, match="SSL_CERT_FILE"):
        Sandbox.create(**tls_server.opts)


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name(tls_server: FakeServer) -> None:
    with pytest.raises(ServerUnreachableException, match=r"(?i)mismatch"):
        Sandbox.create(api_url=f"https://localhost:{tls_server.port}", api_key="k")


@pytest.mark.usefixtures("trusted")
def test_tls_with_an_early_answer(tls_server: FakeServer) -> None:
    tls_server.on_head = {"/files": reply(507, {"message": "disk is full"})}
    sandbox = Sandbox.create(**tls_server.opts)
    with pytest.raises(NotEnoughSpaceException, match="disk is full"):
        sandbox.files.write("a", b"x" * 50_000_000)


def test_plain_http_to_a_tls_port(tls_server: FakeServer) -> None:
    with pytest.raises((ProtocolException, ServerUnreachableException)):
        Sandbox.create(api_url=f"http://127.0.0.1:{tls_server.port}", api_key="k")


@pytest.mark.usefixtures("trusted")
def test_tls_to_a_port_without_it(server: FakeServer) -> None:
    with pytest.raises((ServerUnreachableException, TimeoutException)):
        Sandbox.create(api_url=f"https://127.0.0.1:{server.port}", api_key="k", request_timeout=1)


class HttpxProxy:
    """Shaped like `httpx.Proxy`, which keeps the password apart from the URL."""

    def __init__(self, url: str, auth: tuple[str, str]) -> None:
        self.url, self.auth = url, auth


def test_an_http_proxy(server: FakeServer) -> None:
    with Proxy(server.port) as proxy:
        server.on("POST", "http://far.example/v2/sandboxes", reply(201, SANDBOX))
        server.on("GET", "http://far.example/health", reply(204))
        url = f"http://me:p%40ss@127.0.0.1:{proxy.port}"
        sandbox = Sandbox.create(api_url="http://far.example", api_key="k", proxy=url)
        sandbox.is_running()
        assert proxy.heads[0].startswith("POST http://far.example/v2/sandboxes HTTP/1.1\r\nHost: far.example\r\n")
        assert "Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in proxy.heads[0]
        assert server.requests[1].target == "http://far.example/health"
        other = HttpxProxy(f"http://127.0.0.1:{proxy.port}", ("me", "other"))
        Sandbox.create(api_url="http://far.example", api_key="k", proxy=other)
        assert "Proxy-Authorization: Basic bWU6b3RoZXI=\r\n" in proxy.heads[1]


@pytest.mark.usefixtures("trusted")
def test_a_proxy_for_tls(tls_server: FakeServer) -> None:
    with Proxy(tls_server.port) as proxy:
        opts = {"api_url": "https://far.e2b.localhost", "api_key": "k", "proxy": f"http://127.0.0.1:{proxy.port}"}
        sandbox = Sandbox.create(**opts)
        assert sandbox.is_running()
        assert len(proxy.heads) == 1
        assert proxy.heads[0].startswith("CONNECT far.e2b.localhost:443 HTTP/1.1\r\nHost: far.e2b.localhost:443\r\n")


def test_a_proxy_that_refuses(server: FakeServer) -> None:
    with Proxy(server.port, refuse=True) as proxy, pytest.raises(ProtocolException, match="HTTP 407"):
        Sandbox.create(api_url="https://far.e2b.localhost", api_key="k", proxy=f"http://127.0.0.1:{proxy.port}")


def test_no_proxy_there() -> None:
    with pytest.raises(ServerUnreachableException, match=r"127\.0\.0\.1:9"):
        Sandbox.create(api_url="http://far.example", api_key="k", proxy="http://127.0.0.1:9")


@pytest.mark.parametrize("host", ["localhost", "a.b.localhost", "127.0.0.1"])
def test_names_of_this_machine_need_no_resolver(server: FakeServer, host: str) -> None:
    server.on("POST", "/base/v2/sandboxes", reply(201, SANDBOX))
    sandbox = Sandbox.create(api_url=f"http://{host}:{server.port}/base/", api_key="k")
    assert sandbox.envd_api_url == f"http://{host}:{server.port}/base"


def test_an_address_that_does_not_answer() -> None:
    started = time.monotonic()
    with unanswered() as url, pytest.raises((TimeoutException, ServerUnreachableException)):
        Sandbox.create(api_url=url, api_key="k", request_timeout=0.3)
    assert time.monotonic() - started < 3


def test_a_response_without_a_length_ends_with_its_connection(server: FakeServer) -> None:
    server.on("GET", "/files", raw(b"HTTP/1.1 200 OK\r\n\r\ncontent", close=True))
    sandbox = Sandbox.create(**server.opts)
    assert sandbox.files.read("a") == "content"


def test_interim_responses_are_passed_over(server: FakeServer) -> None:
    server.on("GET", "/health", raw(b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"))
    sandbox = Sandbox.create(**server.opts)
    assert sandbox.is_running()


def test_uploads_stream_as_they_are_read(server: FakeServer) -> None:
    """100 MB pass without ever being held together."""

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(1_000_000)

    server.on_head = {"/files": swallow}
    sandbox = Sandbox.create(**server.opts)
    tracemalloc.start()
    sandbox.files.write("a", pieces())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
