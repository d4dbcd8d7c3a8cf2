"""Domain mode: the certificates, and the door behind them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from sandlot_server.proxy.tls import LEAF_LIFE, RENEW_BEFORE, LocalTls, find_public_roots, load_own
from support.door import DOMAIN, Client, Connection, House, request, wait_for


def strict_client(bundle: Path) -> ssl.SSLContext:
    """Trust the bundle alone, with the checks that Python 3.13 has on by default."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bundle)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def connect(port: int, bundle: Path, name: str, host: str = "127.0.0.1") -> Client:
    return Client(*await asyncio.open_connection(host, port, ssl=strict_client(bundle), server_hostname=name))


async def serve_tls(house: House, tls: LocalTls) -> int:
    return await house.door.start_tls(tls.context, 0)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_api_and_sandboxes_answer_over_tls_under_their_names(house: House, tmp_path: Path) -> None:
    await house.add_sandbox("one")
    tls = LocalTls(tmp_path, DOMAIN)
    port = await serve_tls(house, tls)
    for name in (f"api.{DOMAIN}", f"49983-one.{DOMAIN}", DOMAIN, f"sandbox.{DOMAIN}", "localhost", "127.0.0.1"):
        client = await connect(port, tls.bundle, name)
        chosen = client.writer.get_extra_info("ssl_object").selected_alpn_protocol()
        assert chosen == "http/1.1"
        answer = await client.ask(request("/x", host=f"{name}:{port}"))
        assert answer.body == (b"one GET /x " if name.startswith("49983") else b"api GET /x ")
        await client.close()
    assert house.api.requests[0].header("x-forwarded-proto") == "https"


async def test_both_loopback_addresses_share_a_port(house: House, tmp_path: Path) -> None:
    tls = LocalTls(tmp_path, DOMAIN)
    port = await serve_tls(house, tls)
    for host in ("127.0.0.1", "::1"):
        try:
            client = await connect(port, tls.bundle, f"api.{DOMAIN}", host)
        except OSError:
            assert host == "::1"  # a machine without IPv6
            continue
        assert (await client.ask(request())).status == 200
        await client.close()


async def test_large_bodies_pass_over_tls(house: House, tmp_path: Path) -> None:
    await house.add_sandbox("one")
    tls = LocalTls(tmp_path, DOMAIN)
    client = await connect(await serve_tls(house, tls), tls.bundle, f"49983-one.{DOMAIN}")
    body = bytes(range(256)) * 20_000
    sending = asyncio.ensure_future(client.send(request(method="POST", to="one", body=body)))
    answer = await client.read_answer()
    await sending
    assert answer.body == b"one POST / " + body
    await client.close()


async def test_a_cut_is_no_clean_end_over_tls(house: House, tmp_path: Path) -> None:
    async def stream(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await asyncio.sleep(60)

    await house.add_sandbox("one", stream)
    tls = LocalTls(tmp_path, DOMAIN)
    client = await connect(await serve_tls(house, tls), tls.bundle, f"49983-one.{DOMAIN}")
    await client.send(request(to="one"))
    assert (await client.read_head()).status == 200
    assert await client.reader.readexactly(10) == b"5\r\nhello\r\n"
    house.sandboxes.running.clear()
    assert house.door.cut("one") == 1
    assert await client.read_end() == b""
    await client.close()


async def test_plain_http_at_the_tls_port_is_closed(house: House, tmp_path: Path) -> None:
    port = await serve_tls(house, LocalTls(tmp_path, DOMAIN))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request())
    with contextlib.suppress(ConnectionError):
        assert b"HTTP" not in await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_a_renewed_leaf_is_shown_without_a_restart(house: House, tmp_path: Path) -> None:
    tls = LocalTls(tmp_path, DOMAIN)
    port = await serve_tls(house, tls)
    before = tls.leaf.read_bytes()
    tls.leaf.write_bytes(b"")
    keeping = asyncio.ensure_future(tls.keep_fresh(every_s=0.01))
    await wait_for(lambda: tls.leaf.read_bytes() not in (b"", before))
    end = "-----END CERTIFICATE-----\n"
    expected = ssl.PEM_cert_to_DER_cert(tls.leaf.read_text().partition(end)[0] + end)

    async def shown() -> bytes:
        client = await connect(port, tls.bundle, DOMAIN)
        der: bytes = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        await client.close()
        return der

    async with asyncio.timeout(5):
        while await shown() != expected:
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


def test_keys_are_private_and_nothing_is_made_twice(tmp_path: Path) -> None:
    tls = LocalTls(tmp_path, DOMAIN)
    folder = tls.leaf.parent
    assert mode(folder) == 0o700
    assert mode(folder / "ca.key") == 0o600
    assert mode(tls.leaf) == 0o600
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["bundle.pem", "ca.key", "ca.pem", "leaf.pem"]
    LocalTls(tmp_path, DOMAIN)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_bundle_keeps_the_public_roots(tmp_path: Path) -> None:
    tls = LocalTls(tmp_path, DOMAIN)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(tls.bundle)
    assert len(context.get_ca_certs()) > 50
    assert tls.bundle.read_bytes().endswith(tls.authority.read_bytes())


def test_a_bundle_that_is_the_default_already_does_not_feed_on_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = LocalTls(tmp_path, DOMAIN).bundle
    before = bundle.read_bytes()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert LocalTls(tmp_path, DOMAIN).bundle.read_bytes() == before
    assert find_public_roots(besides=bundle) != before


def test_the_leaf_lives_briefly_and_is_renewed_in_time(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    tls = LocalTls(tmp_path, DOMAIN, now=now)
    authority, first = tls.authority.read_bytes(), tls.leaf.read_bytes()
    leaf = x509.load_pem_x509_certificate(first)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= dt.timedelta(days=825)
    assert not tls.renew(now + LEAF_LIFE - RENEW_BEFORE - dt.timedelta(days=1))
    assert tls.renew(now + LEAF_LIFE - RENEW_BEFORE + dt.timedelta(days=1))
    assert tls.leaf.read_bytes() != first
    assert tls.authority.read_bytes() == authority


@pytest.mark.parametrize("name", ["ca.pem", "ca.key", "leaf.pem"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_damaged_files_are_replaced(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = LocalTls(tmp_path, DOMAIN).leaf.parent / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    tls = LocalTls(tmp_path, DOMAIN)
    leaf = x509.load_pem_x509_certificate(tls.leaf.read_bytes())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(tls.authority.read_bytes()))
    assert tls.bundle.read_bytes().endswith(tls.authority.read_bytes())


async def test_the_authority_cannot_vouch_for_foreign_names(tmp_path: Path) -> None:
    """Even with its key: a client that trusts it refuses a leaf of it for another domain."""
    tls, foreign = LocalTls(tmp_path / "ours", DOMAIN), tmp_path / "foreign" / "bank.example"
    LocalTls(foreign.parent, foreign.name)
    for name in ("ca.pem", "ca.key"):
        (foreign / name).write_bytes((tls.leaf.parent / name).read_bytes())
    evil = LocalTls(foreign.parent, foreign.name)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=evil.context)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        await connect(port, tls.bundle, "bank.example")
    server.close()
    await server.wait_closed()


async def test_certificates_of_ones_own(house: House, tmp_path: Path) -> None:
    made = LocalTls(tmp_path, "sandboxes.example")
    port = await house.door.start_tls(load_own(made.leaf, made.leaf), 0)
    client = await connect(port, made.bundle, "api.sandboxes.example")
    assert (await client.ask(request())).status == 200
    await client.close()
    with pytest.raises(FileNotFoundError):
        load_own(tmp_path / "none.pem", made.leaf)
