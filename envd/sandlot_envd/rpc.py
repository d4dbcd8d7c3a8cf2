"""The Connect protocol: content types, deadlines, error shapes; methods see dicts and raise AgentErrors."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

from sandlot_envd.codec import CODECS, Codec, Message
from sandlot_envd.deadline import Deadline
from sandlot_envd.errors import AgentError, BadRequest, Internal, Unimplemented
from sandlot_envd.framing import END_OF_STREAM, MAX_MESSAGE, frame, read_frames
from sandlot_envd.http import Handler, Request, Response, Routes, answer_json
from sandlot_envd.state import AgentState
from sandlot_envd.users import User, find_user
from sandlot_protocol.http import DEFAULT_KEEPALIVE_S, KEEPALIVE_HEADER

STATUS = {
    "canceled": 499, "unknown": 500, "invalid_argument": 400, "deadline_exceeded": 504, "not_found": 404,
    "already_exists": 409, "permission_denied": 403, "resource_exhausted": 429, "failed_precondition": 400,
    "aborted": 409, "out_of_range": 400, "unimplemented": 501, "internal": 500, "unavailable": 503,
    "data_loss": 500, "unauthenticated": 401,
}  # fmt: skip
"""HTTP status of a unary call's error, by Connect code."""


class Call:
    """What a method may know of its call besides the message."""

    __slots__ = ("deadline", "deadline_s", "headers", "state", "username")

    def __init__(self, headers: dict[str, str], state: AgentState) -> None:
        self.headers = headers
        self.state = state
        self.username = read_basic_user(headers)
        if self.username is not None:
            find_user(self.username)  # whoever names a user must name one that exists, whatever the method
        self.deadline_s = _read_deadline(headers)
        self.deadline = Deadline(state.clock, self.deadline_s)

    def find_user(self) -> User:
        """Return the user that the call names by basic authentication, or the sandbox's default user.

        Raises Unauthenticated for a user that the sandbox does not have.
        """
        return self.state.find_default_user() if self.username is None else find_user(self.username)

    @property
    def keepalive_s(self) -> float:
        """Seconds of silence after which a stream shows that it lives."""
        text = self.headers.get(KEEPALIVE_HEADER, "")
        return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:9]) < 86_400 else DEFAULT_KEEPALIVE_S

    @property
    def is_legacy(self) -> bool:
        """Whether the client is the earliest Python SDK, whose parser refuses fields that it does not know."""
        return self.headers.get("user-agent") == "connect-python"


def read_basic_user(headers: dict[str, str]) -> str | None:
    """Return the user name of `Authorization: Basic`; None without one, or when it cannot be read."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, _ = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return name if colon else None


def _read_deadline(headers: dict[str, str]) -> float | None:
    """Return the call's time in seconds, None for no limit; raises BadRequest for what is no time at all."""
    text = headers.get("connect-timeout-ms", "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise BadRequest(f"invalid connect-timeout-ms: '{text[:20]}'")
    return int(text) / 1000 or None


Unary = Callable[[Call, Message], Coroutine[Any, Any, Message]]
ServerStream = Callable[[Call, Message], AsyncGenerator[Message, None]]
ClientStream = Callable[[Call, AsyncIterator[Message]], Coroutine[Any, Any, Message]]


class Service:
    """Methods of one RPC service, collected by kind."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.unary: dict[str, Unary] = {}
        self.server_stream: dict[str, ServerStream] = {}
        self.client_stream: dict[str, ClientStream] = {}

    def routes(self, state: AgentState) -> Routes:
        """Return the HTTP handlers of all methods."""
        handlers: dict[str, Handler] = {}
        for name, unary in self.unary.items():
            handlers[name] = _serve_unary(state, self._types(name), unary)
        for name, streaming in self.server_stream.items():
            handlers[name] = _serve_server_stream(state, self._types(name), streaming)
        for name, collecting in self.client_stream.items():
            handlers[name] = _serve_client_stream(state, self._types(name), collecting)
        return {("POST", f"/{self.name}/{method}"): handler for method, handler in handlers.items()}

    def _types(self, method: str) -> tuple[str, str]:
        package = self.name.split(".")[0]
        return f"{package}.{method}Request", f"{package}.{method}Response"


def _choose_codec(request: Request, prefix: str) -> Codec | None:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return CODECS.get(content_type.removeprefix(prefix)) if content_type.startswith(prefix) else None


def _refuse_content_type() -> Response:
    return Response(415, b"", {"Accept-Post": "application/json, application/connect+json"})


def _answer_unary_error(error: AgentError) -> Response:
    return answer_json({"code": error.code, "message": error.message}, STATUS[error.code])


def _explain(error: Exception, state: AgentState, what: str) -> AgentError:
    """Return what the client is told; a defect of ours is logged, and must not look like a cut connection."""
    if isinstance(error, AgentError):
        return error
    if isinstance(error, ConnectionError):
        raise error
    state.log.write("method failed", "error", method=what, error=repr(error))
    return Internal(f"the agent failed: {type(error).__name__}")


def _serve_unary(state: AgentState, types: tuple[str, str], method: Unary) -> Handler:
    async def handle(request: Request) -> Response:
        codec = _choose_codec(request, "application/")
        if codec is None:
            return _refuse_content_type()
        try:
            if request.headers.get("content-encoding", "identity") != "identity":
                raise Unimplemented("compressed messages are not supported")
            message = codec.decode(await request.read(MAX_MESSAGE), types[0])
            call = Call(request.headers, state)
            try:
                answer = await call.deadline.keep(method(call, message))
            finally:
                call.deadline.cancel()
            body = codec.encode(answer, types[1])
        except Exception as raised:
            error = _explain(raised, state, types[0])
            return answer_json({"code": error.code, "message": error.message}, STATUS[error.code])
        return Response(200, body, {"Content-Type": request.headers["content-type"]})

    return handle


def _end_frame(error: AgentError | None = None) -> bytes:
    end = {} if error is None else {"error": {"code": error.code, "message": error.message}}
    return frame(json.dumps(end).encode(), END_OF_STREAM)


def _stream_response(request: Request, body: bytes | AsyncIterator[bytes]) -> Response:
    return Response(200, body, {"Content-Type": request.headers["content-type"]})


def _serve_server_stream(state: AgentState, types: tuple[str, str], method: ServerStream) -> Handler:
    async def handle(request: Request) -> Response:
        codec = _choose_codec(request, "application/connect+")
        if codec is None:
            return _refuse_content_type()
        # All of the request before any of the answer: the Python SDK drops the rest of its body
        # when the head of the answer comes first.
        try:
            message = codec.decode(await _read_single(request), types[0])
            call = Call(request.headers, state)
        except AgentError as error:
            return _stream_response(request, _end_frame(error))
        return _stream_response(request, _run_stream(call, types[1], method(call, message), codec))

    return handle


async def _run_stream(
    call: Call, answer_type: str, messages: AsyncGenerator[Message, None], codec: Codec
) -> AsyncIterator[bytes]:
    """Yield the frames of one server stream; a failure is its end frame, for the status is sent by then."""
    error: AgentError | None = None
    try:
        while True:
            yield frame(codec.encode(await call.deadline.keep(anext(messages)), answer_type))
    except StopAsyncIteration:
        pass
    except Exception as raised:
        error = _explain(raised, call.state, answer_type)
    finally:
        call.deadline.cancel()
        await messages.aclose()
    yield _end_frame(error)


async def _read_single(request: Request) -> bytes:
    frames = [payload async for payload in read_frames(request.body)]
    if len(frames) != 1:
        raise BadRequest(f"protocol error: {len(frames)} messages where one was expected")
    return frames[0]


def _serve_client_stream(state: AgentState, types: tuple[str, str], method: ClientStream) -> Handler:
    async def handle(request: Request) -> Response:
        codec = _choose_codec(request, "application/connect+")
        if codec is None:
            return _refuse_content_type()
        request.body.idle_s = None  # a person may type slowly

        async def decode() -> AsyncIterator[Message]:
            async for payload in read_frames(request.body):
                yield codec.decode(payload, types[0])

        try:
            call = Call(request.headers, state)
            try:
                answer = await call.deadline.keep(method(call, decode()))
            finally:
                call.deadline.cancel()
            return _stream_response(request, frame(codec.encode(answer, types[1])) + _end_frame())
        except Exception as raised:
            return _stream_response(request, _end_frame(_explain(raised, state, types[0])))

    return handle
