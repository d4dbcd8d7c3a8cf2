"""Errors as E2B's clients parse them: always JSON with an integer `code` and a string `message`."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sandlot_server.errors import NotBuilt, SandlotError

log = logging.getLogger(__name__)

ROUTE_MESSAGES = {404: "no matching operation was found", 405: "method not allowed"}


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of the app in E2B's shape."""
    app.add_exception_handler(SandlotError, _answer_own)
    app.add_exception_handler(HTTPException, _answer_routing)
    app.add_exception_handler(Exception, _answer_unexpected)


def shape_error(status: int, message: str, retry: bool | None = None) -> JSONResponse:
    """The answer for an error; `retry` becomes the `Should-Retry` header unless it is None."""
    headers = {} if retry is None else {"Should-Retry": str(retry).lower()}
    return JSONResponse({"code": status, "message": message}, status, headers)


async def _answer_own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SandlotError)
    if error.status >= 500 and not isinstance(error, NotBuilt):
        log.error("%s %s: %s", request.method, request.url.path, error)
    return shape_error(error.status, str(error), error.retry)


async def _answer_routing(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return shape_error(error.status_code, ROUTE_MESSAGES.get(error.status_code, str(error.detail)))


async def _answer_unexpected(request: Request, error: Exception) -> JSONResponse:
    """A fault of the server: the log gets the trace (from Starlette, which raises it again), the client none."""
    return shape_error(500, "internal error; the server's log says more", retry=False)
