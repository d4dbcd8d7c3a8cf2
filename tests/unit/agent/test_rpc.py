"""The Connect protocol over a real agent: framing, codecs, deadlines, the shapes of errors."""

from __future__ import annotations

import asyncio
import json
from struct import pack
from typing import Any

import pytest

from sandlot_protocol.process import process_pb as pb
from support.agent import Agent, Answer, RpcFailed, basic, frame, read_messages, start_request

STREAM = {"Content-Type": "application/connect+json"}


async def post_stream(agent: Agent, body: bytes, method: str = "Start", content: str = "json") -> Answer:
    headers = {"Content-Type": f"application/connect+{content}"}
    return await agent.request("POST", f"/process.Process/{method}", body, headers)


def end_of(answer: Answer) -> Any:
    """Return the end frame of an answer that has nothing else."""
    assert answer.status == 200
    assert answer.body[0] == 2
    assert answer.body[1:5] == pack(">I", len(answer.body) - 5)
    return json.loads(answer.body[5:])


async def test_unary(agent: Agent) -> None:
    answer = await agent.request("POST", "/process.Process/List", b"{}", {"Content-Type": "application/json"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json, dict)


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (b"{", "invalid_argument", 400),
        (b"[]", "invalid_argument", 400),
        (b"\xff", "invalid_argument", 400),
        (b"[" * 100_000, "invalid_argument", 400),
        (b'{"process":{"pid":4000000},"signal":9}', "not_found", 404),
        (b'{"process":{"pid":-1},"signal":9}', "invalid_argument", 400),
        (b'{"process":{"pid":true},"signal":9}', "invalid_argument", 400),
        (b'{"process":{"pid":1e400},"signal":9}', "invalid_argument", 400),
        (b'{"process":[],"signal":9}', "invalid_argument", 400),
        (b"{}", "invalid_argument", 400),
    ],
)
async def test_unary_errors_have_code_message_and_status(agent: Agent, body: bytes, code: str, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await agent.request("POST", "/process.Process/SendSignal", body, headers)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.json["message"]
    assert answer.headers["content-type"] == "application/json"


async def test_identity_is_the_only_encoding(agent: Agent) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "identity"}
    assert (await agent.request("POST", "/process.Process/List", b"{}", headers)).status == 200
    answer = await agent.request("POST", "/process.Process/List", b"{}", headers | {"Content-Encoding": "gzip"})
    assert (answer.status, answer.json["code"]) == (501, "unimplemented")


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/grpc", "application/connect+json", "application/xml"]
)
async def test_other_content_types_are_refused(agent: Agent, content_type: str) -> None:
    answer = await agent.request("POST", "/process.Process/List", b"{}", {"Content-Type": content_type})
    assert answer.status == 415
    assert "application/json" in answer.headers["accept-post"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_argument"),
        (b"\0\0\0", "invalid_argument"),
        (b"\0\0\0\0\5{}", "invalid_argument"),
        (frame({}) + b"\0", "invalid_argument"),
        (frame({}) + frame({}), "invalid_argument"),
        (frame({}, flags=0x80), "invalid_argument"),
        (frame({}, flags=1), "unimplemented"),
        (b"\0\xff\xff\xff\xff", "resource_exhausted"),
        (frame(b"nonsense"), "invalid_argument"),
        (frame(b"[1]"), "invalid_argument"),
    ],
)
async def test_stream_errors_are_200_and_an_end_frame(agent: Agent, body: bytes, code: str) -> None:
    assert end_of(await post_stream(agent, body))["error"]["code"] == code


async def test_unknown_and_empty_fields_are_ignored(agent: Agent) -> None:
    done = await agent.run("echo", "hi", tag=None, pty=None, future_field={"a": 1})
    assert done.stdout == b"hi\n"


async def test_unauthenticated_is_an_end_frame_in_streams(agent: Agent) -> None:
    answer = await agent.request(
        "POST", "/process.Process/Start", frame(start_request("true")), STREAM | basic("nobody-here")
    )
    assert end_of(answer)["error"] == {"code": "unauthenticated", "message": "invalid username: 'nobody-here'"}


@pytest.mark.parametrize("value", ["Basic !", "Basic dXNlcg==", "Bearer x", "Basic", ""])
async def test_other_authorizations_are_ignored(agent: Agent, value: str) -> None:
    done = await agent.run("id", "-un", headers={"Authorization": value})
    assert done.stdout == b"root\n"


async def test_deadlines(agent: Agent) -> None:
    for value in ("x", "-1", "1.5", "99999999999"):
        with pytest.raises(RpcFailed, match="connect-timeout-ms"):
            await agent.call("process.Process/List", headers={"Connect-Timeout-Ms": value})
    assert "processes" in await agent.call("process.Process/List", headers={"Connect-Timeout-Ms": "0"})
    async with agent.stream("process.Process/Start", start_request("sleep", "60", stdin=True)) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        message = {"process": {"pid": pid}, "input": {"stdin": "A" * 400_000}}
        with pytest.raises(RpcFailed) as failed:
            await agent.call("process.Process/SendInput", message, {"Connect-Timeout-Ms": "200"})
        assert (failed.value.code, failed.value.status) == ("deadline_exceeded", 504)
        await agent.call("process.Process/SendSignal", {"process": {"pid": pid}, "signal": 9})


async def test_binary_unary(agent: Agent) -> None:
    headers = {"Content-Type": "application/proto"}
    async with agent.stream("process.Process/Start", start_request("sleep", "60", tag="binary")) as events:
        pid = (await anext(events))["event"]["start"]["pid"]
        answer = await agent.request("POST", "/process.Process/List", b"", headers)
        assert answer.headers["content-type"] == "application/proto"
        listed = {one.pid: one for one in pb.ListResponse.from_binary(answer.body).processes}
        assert listed[pid].tag == "binary"
        assert listed[pid].config is not None
        assert list(listed[pid].config.args) == ["60"]
        request = pb.SendSignalRequest.from_json(json.dumps({"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"}))
        answer = await agent.request("POST", "/process.Process/SendSignal", request.to_binary(), headers)
        assert (answer.status, answer.body) == (200, b"")
    answer = await agent.request("POST", "/process.Process/SendSignal", b"\xff\xff", headers)
    assert (answer.status, answer.json["code"]) == (400, "invalid_argument")


async def test_binary_streams(agent: Agent) -> None:
    request = pb.StartRequest.from_json(json.dumps(start_request("sh", "-c", "printf '\\377\\000'; exit 5")))
    answer = await post_stream(agent, frame(request.to_binary()), content="proto")
    events, rest = [], answer.body
    while rest[0] == 0:
        size = int.from_bytes(rest[1:5], "big")
        events.append(json.loads(pb.StartResponse.from_binary(rest[5 : 5 + size]).to_json())["event"])
        rest = rest[5 + size :]
    assert rest == frame({}, flags=2)
    assert [list(event) for event in events] == [["start"], ["data"], ["end"]]
    assert events[1]["data"] == {"stdout": "/wA="}
    assert events[2]["end"]["exitCode"] == 5


async def test_stream_input_over_one_request(agent: Agent) -> None:
    async with (
        agent.stream("process.Process/Start", start_request("cat", stdin=True)) as events,
        agent.connect() as wire,
    ):
        pid = (await anext(events))["event"]["start"]["pid"]
        await wire.send(agent.head("POST", "/process.Process/StreamInput", STREAM | {"Transfer-Encoding": "chunked"}))

        async def send(message: object) -> None:
            data = frame(message)
            await wire.send(b"%x\r\n%b\r\n" % (len(data), data))

        await send({"start": {"process": {"pid": pid}}})
        for text in ("YWJj", "ZGVm"):
            await send({"data": {"input": {"stdin": text}}})
            assert (await anext(events))["event"]["data"]["stdout"] == text
            await send({"keepalive": {}})
        await wire.send(b"0\r\n\r\n")
        answer = await wire.read_head()
        assert [one async for one in read_messages(wire, answer)] == [{}]
        await agent.call("process.Process/CloseStdin", {"process": {"pid": pid}})


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([{"start": {"process": {"pid": 4_000_000}}}], "not_found"),
        ([{"data": {"input": {"stdin": ""}}}], "invalid_argument"),
        ([{"start": 5}], "invalid_argument"),
        ([{}], "unimplemented"),
    ],
)
async def test_stream_input_errors(agent: Agent, messages: list[object], code: str) -> None:
    answer = await post_stream(agent, b"".join(frame(one) for one in messages), "StreamInput")
    assert end_of(answer)["error"]["code"] == code


async def test_an_early_error_of_stream_input_does_not_wait_for_its_end(agent: Agent) -> None:
    async with agent.connect() as wire:
        await wire.send(agent.head("POST", "/process.Process/StreamInput", STREAM | {"Transfer-Encoding": "chunked"}))
        data = frame({"start": {"process": {"pid": 4_000_000}}})
        await wire.send(b"%x\r\n%b\r\n" % (len(data), data))
        answer = await asyncio.wait_for(wire.read_answer(), 10)
        assert end_of(answer)["error"]["code"] == "not_found"
