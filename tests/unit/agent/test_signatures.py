"""Who may use /files of a secured agent."""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandlot_protocol.signing import Operation, sign
from support.agent import Agent, Answer

CASES = settings(
    max_examples=int(os.environ.get("FUZZ_CASES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
TOKEN = "the-sandbox's-token"
EXPIRED = {"code": 401, "message": "signature is already expired"}


@pytest.fixture
async def secured(own_agent: Agent) -> Agent:
    await own_agent.init(accessToken=TOKEN, defaultUser="user")
    (own_agent.home / "a b").write_text("content")
    return own_agent


async def get(agent: Agent, headers: dict[str, str] | None = None, **query: str) -> Answer:
    return await agent.request("GET", f"/files?{urlencode(query, quote_via=quote)}", headers=headers)


def message(answer: Answer) -> str:
    assert (answer.status, answer.json["code"]) == (401, 401)
    assert answer.headers["content-type"].startswith("application/json")
    return str(answer.json["message"])


async def test_with_the_token(secured: Agent) -> None:
    assert (await get(secured, {"X-Access-Token": TOKEN}, path="a b")).body == b"content"
    # A header that is there has to be right, whatever the signature.
    signature = sign("a b", "read", "", TOKEN)
    answer = await get(secured, {"X-Access-Token": "wrong"}, path="a b", signature=signature)
    assert message(answer) == "access token present in header but does not match"


async def test_without_anything(secured: Agent) -> None:
    assert message(await get(secured, path="a b")) == "missing signature query parameter"
    assert message(await get(secured, path="missing")) == "missing signature query parameter"
    answer = await secured.request("POST", "/files?path=x", b"x", {"Content-Type": "application/octet-stream"})
    assert message(answer) == "missing signature query parameter"
    assert not (secured.home / "x").exists()


async def test_signed(secured: Agent) -> None:
    later = int(time.time()) + 60
    for expiration in (None, later):
        for username in ("", "user", "root"):
            path = f"{secured.home}/a b"
            query = {"path": path, "signature": sign(path, "read", username, TOKEN, expiration)}
            query |= {"username": username} if username else {}
            query |= {"signature_expiration": str(expiration)} if expiration else {}
            assert (await get(secured, **query)).body == b"content"
            # The other way to write a space.
            assert (await secured.request("GET", f"/files?{urlencode(query)}")).body == b"content"


async def test_what_was_not_signed(secured: Agent) -> None:
    later = int(time.time()) + 60
    signed = {"path": "a b", "signature": sign("a b", "read", "", TOKEN, later), "signature_expiration": str(later)}
    assert (await get(secured, **signed)).status == 200
    for change in (
        {"path": f"{secured.home}/a b"},
        {"path": "~/a b"},
        {"username": "user"},
        {"signature_expiration": str(later + 1)},
        {"signature": signed["signature"][:-1]},
        {"signature": f"{signed['signature']}="},
        {"signature": ""},
        {"signature": "\u00e9"},
    ):
        assert message(await get(secured, **(signed | change))) == "invalid signature", change
    without = {name: value for name, value in signed.items() if name != "signature_expiration"}
    assert message(await get(secured, **without)) == "invalid signature"


async def test_expiry_counts_after_the_signature(secured: Agent) -> None:
    for expiration in (0, -5, int(time.time()) - 1):
        query = {"path": "a b", "signature_expiration": str(expiration)}
        answer = await get(secured, **query, signature=sign("a b", "read", "", TOKEN, expiration))
        assert (answer.status, answer.json) == (401, EXPIRED)
        assert message(await get(secured, **query, signature="v1_wrong")) == "invalid signature"


async def test_expirations_that_are_no_numbers(secured: Agent) -> None:
    for text in ("", "soon", "1.5", "--1", "9" * 30, "٣", " 1"):
        answer = await get(secured, path="a b", signature="x", signature_expiration=text)
        assert (answer.status, answer.json["code"]) == (400, 400), text


async def test_reading_is_not_writing(secured: Agent) -> None:
    octets = {"Content-Type": "application/octet-stream"}
    read, write = (quote(sign("new", operation, "", TOKEN), safe="") for operation in ("read", "write"))
    assert (await secured.request("POST", f"/files?path=new&signature={read}", b"x", octets)).status == 401
    assert (await secured.request("POST", f"/files?path=new&signature={write}", b"x", octets)).status == 200
    assert message(await secured.request("GET", f"/files?path=new&signature={write}")) == "invalid signature"
    assert (await secured.request("HEAD", f"/files?path=new&signature={read}")).status == 200


async def test_several_files_are_signed_without_a_path(secured: Agent) -> None:
    signature = quote(sign("", "write", "", TOKEN), safe="")
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="one"\r\n\r\nx\r\n--b--'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await secured.request("POST", f"/files?signature={signature}", body, headers)
    assert [one["name"] for one in answer.json] == ["one"]


async def test_a_path_that_is_not_utf8(secured: Agent) -> None:
    (Path(os.fsdecode(os.fsencode(secured.home) + b"/\xff"))).write_text("x")
    signature = quote(sign("\udcff", "read", "", TOKEN), safe="")
    assert (await secured.request("GET", f"/files?path=%FF&signature={signature}")).body == b"x"


TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)


@CASES
@given(path=TEXT, username=TEXT, token=TEXT, given_token=TEXT, operation=st.sampled_from(["read", "write"]))
def test_property_only_the_token_signs(
    path: str, username: str, token: str, given_token: str, operation: Operation
) -> None:
    signature = sign(path, operation, username, token)
    assert signature.startswith("v1_")
    assert not signature.endswith("=")
    assert (sign(path, operation, username, given_token) == signature) is (token == given_token)


@CASES
@given(path=st.binary(max_size=40), signature=st.binary(max_size=40), expiration=st.binary(max_size=20))
async def test_fuzz_no_query_gets_in(secured: Agent, path: bytes, signature: bytes, expiration: bytes) -> None:
    query = f"path={quote(path)}&signature={quote(signature)}&signature_expiration={quote(expiration)}"
    answer = await secured.request("GET", f"/files?{query}")
    assert answer.status in (400, 401)
