# Generated from client/sandlot/_async/api.py by sandlot._dev.unasync: change that file, not this one.
"""Calls of the control plane, with retries, errors and pages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from sandlot._errors import explain_api_failure, explain_api_status, explain_missing_key, read_message
from sandlot._http import Deadline, TransportError
from sandlot._sync.envd import load_json, parse_answer
from sandlot._sync.session import Call, Session
from sandlot._sync.transport import Limits
from sandlot._sync_support.io import sleep
from sandlot.config import ConnectionConfig
from sandlot.exceptions import ProtocolException

T = TypeVar("T")

RETRIED = frozenset({429, 502, 503, 504})
MAX_RETRY_WAIT_S = 60.0
"""For all waits together, when there is no request timeout."""


class Answer(NamedTuple):
    """An answer of the API."""

    status: int
    headers: dict[str, str]
    text: bytes

    def parse(self, parse: Callable[[Any], T], what: str) -> T:
        """Return what `parse` makes of the JSON body. Raises ProtocolException."""
        try:
            data = json.loads(self.text)
        except ValueError as error:
            raise ProtocolException(f"the answer to {what} is not JSON: {self.text[:200]!r}") from error
        return parse_answer(parse, data, what)

    @property
    def message(self) -> str:
        """The error message in it."""
        return read_message(load_json(self.text), self.text)


class Api:
    """The control plane that a configuration points at."""

    def __init__(self, config: ConnectionConfig) -> None:
        if not config.api_key:
            raise explain_missing_key(config)
        self._config = config
        headers = {**config.headers, "X-API-KEY": config.api_key}
        self._session = Session(config.api_url, headers, config.proxy, config.logger)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        absorb: tuple[int, ...] = (),
    ) -> Answer:
        """Call a route and return its answer if the status is 2xx or in `absorb`; else raise what it means.

        Answers that ask for it are tried again, as often as `retries` says and the request timeout allows.
        """
        call = Call(method, path, query, dict(headers or {}))
        if body is not None:
            call = call._replace(body=json.dumps(body).encode())
            call.headers["Content-Type"] = "application/json"  # type: ignore[index]  # set above
        try:
            answer = self._try(call)
        except TransportError as error:
            raise explain_api_failure(error, self._config) from error
        if answer.status < 300 or answer.status in absorb:
            return answer
        data = load_json(answer.text)
        code = data.get("error_code") if isinstance(data, dict) else None
        raise explain_api_status(answer.status, answer.message, code)

    def _try(self, call: Call) -> Answer:
        deadline = Deadline(self._config.request_timeout)
        patience = Deadline(self._config.request_timeout or MAX_RETRY_WAIT_S)
        attempt = 0
        while True:
            response = self._session.send(call, Limits(deadline))
            answer = Answer(response.status, response.headers, response.read())
            wait_s = choose_wait(answer, attempt)
            left = (patience.at or 0) - time.monotonic()
            if wait_s is None or attempt >= self._config.retries or wait_s >= left:
                return answer
            sleep(wait_s)
            attempt += 1


def choose_wait(answer: Answer, attempt: int) -> float | None:
    """Return the seconds before an answer is asked for again, None to take it as it is.

    `Should-Retry` decides, else the status; `Retry-After` says when, else it is twice as long each time.
    """
    wanted = answer.headers.get("should-retry")
    if (answer.status not in RETRIED) if wanted is None else (wanted.strip().lower() != "true"):
        return None
    after = answer.headers.get("retry-after", "").strip()
    if after.isascii() and after.isdecimal():
        return float(after)
    from random import uniform  # not for a first call that succeeds

    return min(0.1 * 2.0**attempt, 10.0) * uniform(0.5, 1)  # noqa: S311 - spreads retries, no secret
