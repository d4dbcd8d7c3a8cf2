"""What policies mean, which host a connection names, and what a lookup is answered, without a network."""

from __future__ import annotations

import contextlib
import ssl
from ipaddress import IPv4Address, IPv4Network

import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandlot_server.border.client_hello import MAX_HEAD, NoHost, find_host, find_server_name
from sandlot_server.border.policy import EVERYTHING, Policy, matches, parse_policy
from sandlot_server.border.reach import Reach
from sandlot_server.border.resolver import Resolver
from sandlot_server.border.upstream import Upstream
from sandlot_server.errors import InvalidRequest
from sandlot_server.models import Egress


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("a.example", "a.example", True),
        ("A.Example.", "a.example", True),
        ("a.example", "A.EXAMPLE", True),
        ("b.a.example", "a.example", False),
        ("b.a.example", "*.a.example", True),
        ("c.b.a.example", "*.a.example", True),
        ("a.example", "*.a.example", False),
        ("ba.example", "*.a.example", False),
        (".a.example", "*.a.example", False),
        ("anything", "*", True),
        ("", "*", False),
    ],
)
def test_names_and_patterns(name: str, pattern: str, expected: bool) -> None:
    assert matches(name, pattern) is expected


def test_what_restricts_nothing_is_no_policy() -> None:
    assert parse_policy(None) is None
    assert parse_policy(Egress()) is None
    assert parse_policy(Egress(allow_out=("1.1.1.1",), internet=True)) is None


def test_ranges_are_merged_and_masked() -> None:
    policy = parse_policy(Egress(deny_out=("10.1.2.3/8", "10.0.0.1", "fd00::/8"), allow_out=("1.1.1.1", "1.1.1.1/32")))
    assert policy == Policy(allowed=(IPv4Network("1.1.1.1/32"),), denied=(IPv4Network("10.0.0.0/8"),))
    assert not policy.is_closed


def test_without_internet_everything_is_denied_and_domains_may_be_allowed() -> None:
    policy = parse_policy(Egress(internet=False, allow_out=("a.example",)))
    assert policy == Policy(denied=(EVERYTHING,), domains=("a.example",))
    assert policy.is_closed
    assert policy.admits_name("a.example")
    assert not policy.admits_name("b.example")


@pytest.mark.parametrize(
    ("egress", "message"),
    [
        (Egress(deny_out=("0.0.0.0/8",)), "invalid denied CIDR 0.0.0.0/8"),
        (Egress(deny_out=("::",)), "invalid denied CIDR ::"),
        (Egress(deny_out=("0.0.0.0/0",), allow_out=("fd00::1",)), "sandboxes have no IPv6"),
        (Egress(deny_out=("0.0.0.0/0",), allow_out=("https://a.example",)), "invalid allowed domain https://a.example"),
        (Egress(deny_out=("0.0.0.0/0",), allow_out=("a.*.example",)), "invalid allowed domain"),
        (Egress(deny_out=("1.1.1.1",), allow_out=("a.example",)), "you must include 'ALL_TRAFFIC' in deny out"),
        (Egress(dns_servers=("fd00::1",)), "invalid DNS server"),
        (Egress(dns_servers=("1.1.1.1",) * 11), "at most 10 DNS servers"),
    ],
)
def test_refused_policies(egress: Egress, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message.replace("*", r"\*")):
        parse_policy(egress)


def test_the_server_reaches_no_further_than_a_sandbox() -> None:
    reach = Reach(opened=(IPv4Network("10.0.0.0/8"),), sandboxes=IPv4Network("10.7.0.0/16"))
    assert reach.is_open(IPv4Address("198.51.100.1"))
    assert reach.is_open(IPv4Address("10.1.1.1"))
    for closed in ("10.7.0.9", "127.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0"):
        assert not reach.is_open(IPv4Address(closed))
    # What is the host's own stays closed, whatever is opened.
    assert not Reach(opened=(EVERYTHING,)).is_open(IPv4Address("127.0.0.1"))


def make_hello(name: str | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


def test_the_server_name_of_a_hello_that_comes_in_pieces() -> None:
    hello = make_hello("a.example")
    assert [find_server_name(hello[:size]) for size in range(0, len(hello), 50)] == [None] * len(
        range(0, len(hello), 50)
    )
    assert find_host(hello, 443) == "a.example"
    assert find_host(hello + b"more", 443) == "a.example"


@pytest.mark.parametrize(
    "head", [make_hello(None), b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"x" * (MAX_HEAD + 1)]
)
def test_no_server_name(head: bytes) -> None:
    with pytest.raises(NoHost):
        find_host(head, 443)


def test_the_host_of_a_request() -> None:
    request = b"POST /x HTTP/1.1\r\nA: b\r\nhOsT: a.example:80\r\nContent-Length: 5\r\n\r\nhe"
    assert find_host(request[:40], 80) is None
    assert find_host(request, 80) == "a.example"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"SSH-2.0-x\r\n",
    ],
)
def test_no_host(head: bytes) -> None:
    with pytest.raises(NoHost):
        find_host(head, 80)


async def test_a_name_that_is_not_admitted_is_unknown() -> None:
    resolver = Resolver(Upstream(()), lambda address: Policy(denied=(EVERYTHING,), domains=("a.example",)))
    query = dns.message.make_query("secret.b.example", "A")
    answer = await resolver.answer(query.to_wire(), "10.0.0.2")
    assert answer is not None
    assert (answer.id, answer.rcode(), answer.question) == (query.id, dns.rcode.NXDOMAIN, query.question)


async def test_what_is_no_query_is_not_answered() -> None:
    resolver = Resolver(Upstream(()), lambda address: None)
    answer = dns.message.make_response(dns.message.make_query("a.example", "A"))
    for packet in (answer.to_wire(), b"", b"x" * 20):
        assert await resolver.answer(packet, "10.0.0.2") is None


@given(packet=st.binary(max_size=200))
@settings(deadline=None)
async def test_whatever_is_sent_to_the_resolver(packet: bytes) -> None:
    resolver = Resolver(Upstream(()), lambda address: Policy(denied=(EVERYTHING,)))
    # As a query with one question too, so that not everything ends at the first bytes.
    for sent in (packet, bytes.fromhex("000701000001000000000000") + packet):
        answer = await resolver.answer(sent, "10.0.0.2")
        assert answer is None or answer.rcode() in (dns.rcode.NXDOMAIN, dns.rcode.NOTIMP)


@given(head=st.binary(max_size=300), port=st.sampled_from([80, 443]))
@settings(deadline=None)
def test_whatever_a_connection_begins_with(head: bytes, port: int) -> None:
    starts = {80: b"GET / HTTP/1.1\r\nHost: ", 443: make_hello("a.example")[:60]}
    for sent in (head, starts[port] + head):
        with contextlib.suppress(NoHost):
            assert find_host(sent, port) is None or port == 80


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example", ".".join(["x" * 60] * 6)])
async def test_what_is_no_name_has_no_address(name: str) -> None:
    assert await Upstream([IPv4Address("127.0.0.1")]).find_addresses(name) == []
