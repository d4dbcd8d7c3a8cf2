# Generated from client/sandlot/_async/envd.py by sandlot._dev.unasync: change that file, not this one.
"""The agent of one sandbox: its RPCs and HTTP routes, with errors said as the SDK's exceptions."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from sandlot._errors import (
    GONE,
    RAISE_TIMEOUT,
    RpcError,
    explain_files_status,
    explain_lost_sandbox,
    explain_no_server,
    explain_rpc,
    explain_unavailable,
    explain_unreachable_sandbox,
    read_message,
    rpc_error_from_http,
)
from sandlot._frames import FrameReader, Message, decode_json
from sandlot._http import BadResponse, ConnectFailed, ConnectionLost, Deadline, RequestTimedOut, TransportError
from sandlot._sync.session import Call, Session
from sandlot._sync.stream import CONNECT_TRIES
from sandlot._sync.transport import Body, Limits, Response
from sandlot._sync_support.io import TaskOwner
from sandlot._versions import DEFAULT_USER as AGENT_KNOWS_USER
from sandlot._versions import EnvdVersion
from sandlot.config import DEFAULT_USER, KEEPALIVE_S, ConnectionConfig, Username
from sandlot.exceptions import (
    NotFoundException,
    ProtocolException,
    SandboxException,
    SandboxUnreachableException,
    TimeoutException,
)

T = TypeVar("T")

HEALTH_S = 5.0
SILENCE_S = 3.0 * KEEPALIVE_S
"""A stream on which not even keepalives came for this long is dead."""


class Envd:
    """The agent behind `base_url`; `config.sandbox_headers` name the sandbox and carry its token."""

    def __init__(self, config: ConnectionConfig, base_url: str, version: EnvdVersion) -> None:
        self.version = version
        self.tasks = TaskOwner()
        self._config = config
        self._session = Session(base_url, config.sandbox_headers, config.proxy, config.logger)

    # RPCs

    def call(
        self,
        method: str,
        message: Message,
        parse: Callable[[Message], T],
        user: Username | None = None,
        request_timeout: float | None = None,
        not_found: type[Exception] = NotFoundException,
    ) -> T:
        """Call a unary RPC, such as `process.Process/List`, and return what `parse` makes of its answer."""
        try:
            answer = self._exchange(method, message, user, request_timeout)
        except (RpcError, TransportError) as error:
            raise self.explain(error, not_found) from error
        return parse_answer(parse, answer, method)

    def attempt(
        self,
        method: str,
        message: Message,
        absorb: str,
        user: Username | None = None,
        request_timeout: float | None = None,
    ) -> bool:
        """Call a unary RPC; False when it fails with the code `absorb`, True when it succeeds."""
        try:
            self._exchange(method, message, user, request_timeout)
        except (RpcError, TransportError) as error:
            if isinstance(error, RpcError) and error.code == absorb:
                return False
            raise self.explain(error) from error
        return True

    def _exchange(self, method: str, message: Message, user: Username | None, request_timeout: float | None) -> Message:
        seconds = self._config.get_request_timeout(request_timeout)
        headers = {"Content-Type": "application/json", **self._rpc_headers(user, seconds)}
        call = Call("POST", f"/{method}", headers=headers, body=json.dumps(message).encode())
        response = self._session.send(call, Limits(Deadline(seconds)))
        data = response.read()
        if response.status != 200:
            raise http_rpc_error(response.status, data)
        return decode_json(data, f"the answer to {method}")

    def open_stream(
        self,
        method: str,
        body: Body,
        user: Username | None = None,
        timeout: float | None = None,
        request_timeout: float | None = None,
        not_found: type[Exception] = NotFoundException,
    ) -> MessageStream:
        """Start a streaming RPC. `timeout` bounds it all, `request_timeout` its first message; 0 is no limit."""
        deadline = Deadline(timeout or None)
        opening = deadline.or_sooner(self._config.get_request_timeout(request_timeout))
        headers = {"Content-Type": "application/connect+json", **self._rpc_headers(user, timeout)}
        headers["Keepalive-Ping-Interval"] = str(KEEPALIVE_S)
        try:
            response = self._session.send(Call("POST", f"/{method}", headers=headers, body=body), Limits(opening))
            if response.status != 200:
                raise http_rpc_error(response.status, response.read())
        except (RpcError, TransportError) as error:
            raise self.explain(error, not_found) from error
        return MessageStream(self, response, Limits(deadline, SILENCE_S), not_found)

    def send_stream(self, method: str, frames: Generator[bytes, None, None], timeout: float | None) -> None:
        """Call a client-streaming RPC with all of `frames`, as they come. `timeout` 0 or None is no limit."""
        try:
            stream = self.open_stream(method, frames, timeout=timeout, request_timeout=timeout or 0)
            for _ in stream:
                pass
        finally:
            frames.close()

    def _rpc_headers(self, user: Username | None, seconds: float | None) -> dict[str, str]:
        headers = {"Connect-Protocol-Version": "1"}
        if seconds:
            headers["Connect-Timeout-Ms"] = str(max(1, round(seconds * 1000)))
        if name := self.name_user(user):
            encoded = binascii.b2a_base64(f"{name}:".encode(), newline=False).decode()
            headers["Authorization"] = f"Basic {encoded}"
        return headers

    def name_user(self, user: Username | None) -> Username | None:
        """Return the user to send: an agent of old has no default of its own."""
        return DEFAULT_USER if user is None and self.version < AGENT_KNOWS_USER else user

    # HTTP routes

    def request(self, call: Call, limits: Limits, not_found: type[Exception]) -> Response:
        """Call one of the agent's HTTP routes and return a 2xx response, its body still to come."""
        try:
            response = self._session.send(call, limits)
            if response.status < 300:
                return response
            text = response.read()
        except TransportError as error:
            raise self.explain(error, not_found) from error
        raise explain_files_status(response.status, read_error(text), not_found)

    def is_running(self, request_timeout: float | None) -> bool:
        """Whether the sandbox answers; any 502 is a no. Raises TimeoutException and SandboxException."""
        limits = Limits(Deadline(self._config.get_request_timeout(request_timeout)))
        try:
            status, text = self._get_health(limits, CONNECT_TRIES)
        except TransportError as error:
            if isinstance(error, RequestTimedOut):
                raise TimeoutException(f"The request timed out, {error}; {RAISE_TIMEOUT}.") from error
            raise self.explain(error) from error
        if status == 502:
            return False
        if status >= 300:
            raise explain_files_status(status, read_error(text), NotFoundException)
        return True

    def _get_health(self, limits: Limits, tries: int) -> tuple[int, bytes]:
        response = self._session.send(Call("GET", "/health"), limits, tries)
        return response.status, response.read()

    # Errors

    def explain(self, error: Exception, not_found: type[Exception] = NotFoundException) -> Exception:
        """Return the SDK's exception for what went wrong, having looked at the sandbox's health if need be."""
        if isinstance(error, RpcError) and not error.is_ambiguous:
            return explain_rpc(error, not_found)
        if isinstance(error, RequestTimedOut):
            return TimeoutException(f"The request to the sandbox timed out, {error}; {RAISE_TIMEOUT}.")
        if isinstance(error, BadResponse):
            return ProtocolException(f"The sandbox does not answer as an agent does: {error}")
        if isinstance(error, ConnectFailed):
            return explain_no_server(error, self._session.base_url, self._config)
        return self._explain_by_health(error)

    def _explain_by_health(self, error: Exception) -> Exception:
        try:
            status, text = self._get_health(Limits(Deadline(HEALTH_S)), tries=1)
        except TransportError as probe:
            return explain_unreachable_sandbox(error, probe)
        message = read_error(text)
        if status == 502 and GONE in message:
            return explain_lost_sandbox(error)
        if status == 502:
            return explain_unavailable(message)
        if isinstance(error, RpcError):
            return explain_rpc(error)
        return SandboxUnreachableException(f"{error}: the connection to the sandbox broke, though the sandbox runs.")


class MessageStream:
    """The messages of a streaming RPC. To be closed, or read to its end."""

    def __init__(self, envd: Envd, response: Response, limits: Limits, not_found: type[Exception]) -> None:
        self._envd = envd
        self._response = response
        self._limits = limits
        self._not_found = not_found
        self._frames = FrameReader()
        self._closed = False

    def __iter__(self) -> MessageStream:
        return self

    def __next__(self) -> Message:
        if self._closed:
            raise SandboxException("The stream was closed on this side: connect again to follow it.")
        try:
            message = self._next_message()
        except (RpcError, TransportError) as error:
            self.close()
            raise self._envd.explain(self._name_limit(error), self._not_found) from error
        if message is None:
            raise StopIteration
        self._response.limits = self._limits  # it has opened
        return message

    def _next_message(self) -> Message | None:
        while (message := self._frames.next_message()) is None:
            data = self._response.chunk()
            if data:
                self._frames.feed(data)
            elif self._frames.ended:
                return None
            else:
                raise ConnectionLost("the stream ended before its end frame")
        return message

    def _name_limit(self, error: Exception) -> Exception:
        if isinstance(error, RequestTimedOut) and self._response.limits is self._limits:
            return RpcError("deadline_exceeded", str(error))
        return error

    def close(self) -> None:
        """End the stream at once; what it belongs to goes on in the sandbox."""
        self._closed = not self._frames.ended
        self._response.close()


def http_rpc_error(status: int, data: bytes) -> RpcError:
    """Read an answer of other than 200 to an RPC."""
    return rpc_error_from_http(status, load_json(data), data)


def read_error(data: bytes) -> str:
    """Return the message of an error body, JSON or not."""
    return read_message(load_json(data), data)


def load_json(data: bytes) -> Any:
    """Return the JSON value of a body that may be anything; None when it is none."""
    try:
        return json.loads(data)
    except ValueError:
        return None


def parse_answer(parse: Callable[[Any], T], answer: Any, what: str) -> T:
    """Return what `parse` makes of an answer. Raises ProtocolException when fields are missing or of a wrong kind."""
    try:
        return parse(answer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolException(f"the answer to {what} is not as the protocol says: {error!r}") from error
