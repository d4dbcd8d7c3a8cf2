"""What the door answers itself: to programs, to browsers, and to requests for sandboxes that sleep or are private."""

from __future__ import annotations

import asyncio
import json

import pytest

from sandlot_server.proxy import pages
from sandlot_server.proxy.directory import Endpoint, Forbidden, LimitReached, StillTransitioning, WakeRequest
from support.door import House, request, wait_for

FIREFOX = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
HTML = "Accept: text/html,application/xhtml+xml\r\n"


@pytest.mark.parametrize(
    ("fields", "is_page"),
    [
        (FIREFOX + HTML, True),
        (FIREFOX, True),
        (FIREFOX + "Sec-Fetch-Mode: navigate\r\nX-Requested-With: x\r\n", True),
        (FIREFOX + "Accept: text/html, application/json\r\n", True),
        (FIREFOX + "Accept: application/json\r\n", False),
        (FIREFOX + "Sec-Fetch-Mode: cors\r\n", False),
        (FIREFOX + "Sec-Fetch-Mode: no-cors\r\n", False),
        (FIREFOX + "Sec-Fetch-Mode: same-origin\r\n", False),
        (FIREFOX + "Sec-Fetch-Mode: websocket\r\n", False),
        (FIREFOX + "X-Requested-With: XMLHttpRequest\r\n", False),
        ("User-Agent: e2b-python-sdk/2.63.0\r\n" + HTML, False),
        ("", False),
    ],
)
async def test_browsers_get_a_page_and_programs_json(house: House, fields: str, is_page: bool) -> None:
    answer = await house.ask(request(host="3000-gone.e2b.localhost", fields=fields))
    assert answer.status == 502
    if is_page:
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = answer.body.decode()
        assert "<dd>gone</dd>" in page
        assert "The sandbox was not found" in page
        assert "http" not in page.replace("<!doctype html>", "").lower().replace("http-equiv", "")  # self-contained
    else:
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert json.loads(answer.body)["message"] == "The sandbox was not found"


def test_pages_show_nothing_that_was_not_escaped() -> None:
    answer = pages.bad_upstream("one", 80, "<script>alert(1)</script>")
    assert b"<script>" not in pages.render(answer, (FIREFOX + HTML).encode(), close=False)


async def test_scripts_of_any_page_can_read_the_answers(house: House) -> None:
    origin = "Origin: https://example.com\r\n"
    answer = await house.ask(request(to="gone", fields=origin))
    assert answer.headers["access-control-allow-origin"] == "*"
    asked = origin + "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-access-token\r\n"
    client = await house.connect()
    answer = await client.ask(request(method="OPTIONS", to="gone", fields=asked))
    assert answer.status == 204
    assert answer.headers["access-control-allow-headers"] == "x-access-token"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert (await client.ask(request(method="OPTIONS", to="gone"))).status == 502


async def test_preflights_of_running_sandboxes_are_theirs(house: House) -> None:
    await house.add_sandbox("one")
    fields = "Origin: https://example.com\r\nAccess-Control-Request-Method: POST\r\n"
    assert (await house.ask(request("/x", method="OPTIONS", to="one", fields=fields))).body == b"one OPTIONS /x "


async def test_head_requests_get_no_body(house: House) -> None:
    client = await house.connect()
    assert (await client.ask(request(method="HEAD", to="gone"), "HEAD")).status == 502
    assert (await client.ask(request())).status == 200


async def test_private_sandboxes_want_their_traffic_token_on_every_port_but_the_agents(house: House) -> None:
    await house.add_sandbox("one", traffic_token="secret")
    web = await house.add_service("web")

    async def ask(fields: str) -> tuple[int, str]:
        answer = await house.ask(request(to="one", port=web.port, fields=fields))
        return answer.status, answer.body.decode()

    status, body = await ask("")
    assert status == 403
    assert json.loads(body) == {
        "sandboxId": "one",
        "message": "Sandbox is secured with traffic access token. Token header 'e2b-traffic-access-token' is missing",
        "code": 403,
    }
    for token in ("wrong", "secre", "secret2", "\xe9"):
        status, body = await ask(f"E2b-Traffic-Access-Token: {token}\r\n")
        assert status == 403
        assert json.loads(body)["message"].endswith("Provided token in header 'e2b-traffic-access-token' is invalid")
    assert await ask("e2B-TRAFFIC-access-token: secret\r\n") == (200, "web GET / ")
    assert (await house.ask(request(to="one"))).status == 200
    assert len(web.requests) == 1


async def test_a_paused_sandbox_wakes_on_traffic_or_says_why_not(house: House) -> None:
    service = await house.add_sandbox("one")
    endpoint = house.sandboxes.running.pop("one")
    asked: list[WakeRequest] = []
    outcomes: list[Endpoint | Exception | None] = [
        Forbidden(), StillTransitioning(), LimitReached("only 5 may run"), None, OSError("broken"), endpoint,
    ]  # fmt: skip

    async def wake(sandbox_id: str, wanted: WakeRequest) -> Endpoint | None:
        assert sandbox_id == "one"
        asked.append(wanted)
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    house.sandboxes.waking = wake
    client = await house.connect()
    tokens = "X-Access-Token: envd\r\nE2b-Traffic-Access-Token: traffic\r\n"
    answers = [await client.ask(request("/a", method="POST", to="one", fields=tokens, body=b"b")) for _ in range(6)]
    assert [answer.status for answer in answers] == [403, 409, 429, 502, 500, 200]
    messages = [json.loads(answer.body)["message"] for answer in answers[:5]]
    assert messages[0].startswith("This sandbox can't be resumed with the credentials provided.")
    assert messages[1] == "The sandbox is still transitioning. Try again in a moment."
    assert messages[2] == "only 5 may run"
    assert messages[3] == "The sandbox was not found"
    assert "broken" not in messages[4]
    assert answers[5].body == b"one POST /a b"
    assert asked[0] == WakeRequest(port=49983, envd_token="envd", traffic_token="traffic")
    assert len(service.requests) == 1


async def test_a_client_that_leaves_stops_waiting_for_the_sandbox(house: House) -> None:
    stopped = asyncio.Event()

    async def wake(sandbox_id: str, wanted: WakeRequest) -> Endpoint | None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return None

    house.sandboxes.waking = wake
    client = await house.connect()
    await client.send(request(to="one"))
    await wait_for(lambda: house.door.stats.active == 1)
    await client.close()
    await asyncio.wait_for(stopped.wait(), 5)
    assert house.door.stats.active == 0


async def test_signed_urls_without_identity_find_their_sandbox(house: House) -> None:
    await house.add_sandbox("one")
    await house.add_sandbox("two")
    house.sandboxes.signatures = {
        ("/a b.txt", "read", "root", None, "v1_x+/y"): "two",
        ("", "write", "", 1700000000, "v1_z"): "one",
    }
    read = "/files?path=%2Fa+b.txt&username=root&signature=v1_x%2B%2Fy"
    write = "/files?signature_expiration=1700000000&signature=v1_z"
    assert (await house.ask(request(read))).body == f"two GET {read} ".encode()
    assert (await house.ask(request(read, host="sandbox.e2b.localhost"))).status == 200
    assert (await house.ask(request(write, method="POST", body=b"x"))).body == f"one POST {write} x".encode()
    assert (await house.ask(request(write, method="OPTIONS"))).body == f"one OPTIONS {write} ".encode()
    for target, method in (
        (read, "POST"),
        (write, "GET"),
        (read.replace("root", "user"), "GET"),
        (read + "&signature=v1_z", "GET"),
        (write.replace("=1700000000", "=x"), "POST"),
        ("/files?path=x&signature=", "GET"),
    ):
        answer = await house.ask(request(target, method=method))
        assert answer.status == 401
        assert json.loads(answer.body)["message"].startswith("invalid signature")


async def test_unsigned_file_urls_reach_the_only_sandbox_there_is(house: House) -> None:
    assert (await house.ask(request("/files?path=x"))).status == 400
    await house.add_sandbox("one")
    assert (await house.ask(request("/files?path=x"))).body == b"one GET /files?path=x "
    await house.add_sandbox("two")
    answer = await house.ask(request("/files?path=x"))
    assert answer.status == 400
    assert "names no sandbox" in json.loads(answer.body)["message"]
    assert (await house.ask(request("/files?path=x", method="DELETE"))).body.startswith(b"api ")
    assert (await house.ask(request("/files?path=x", host="api.e2b.localhost"))).body.startswith(b"api ")


async def test_the_host_is_masked_for_services_and_for_nobody_else(house: House) -> None:
    agent = await house.add_sandbox("one", mask_request_host="localhost:${PORT}")
    web = await house.add_service("web")
    host = f"{web.port}-one.e2b.localhost"
    await house.ask(request(host=host, fields="X-Forwarded-Host: evil\r\n"))
    assert web.requests[0].header("host") == f"localhost:{web.port}"
    assert web.requests[0].header("x-forwarded-host") == host
    await house.ask(request(host="49983-one.e2b.localhost"))
    assert agent.requests[0].header("host") == "49983-one.e2b.localhost"


async def test_the_api_away_is_said_so(house: House) -> None:
    await house.api.close()
    answer = await house.ask(request("/sandboxes"))
    assert answer.status == 503
    assert json.loads(answer.body)["code"] == 503
