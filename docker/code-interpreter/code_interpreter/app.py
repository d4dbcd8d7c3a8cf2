"""The HTTP interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel

from code_interpreter.contexts import Context, ContextFailed, ContextNotFound, Contexts, Execution
from code_interpreter.messages import encode

AGENT = "http://127.0.0.1:49983"
AT_ONCE = ("python", "javascript")
"""The languages whose default contexts are there before anybody asks."""


class ExecutionRequest(BaseModel):
    """Code, and where it is to run."""

    code: str
    context_id: str | None = None
    language: str | None = None
    env_vars: dict[str, str] | None = None


class ContextRequest(BaseModel):
    """The context that somebody wants."""

    language: str | None = None
    cwd: str | None = None


class ContextAnswer(BaseModel):
    """The context that there is."""

    id: str
    language: str
    cwd: str


def create_app() -> FastAPI:
    """The service; its kernels live as long as it does."""
    contexts = Contexts()

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        try:
            await asyncio.gather(*(contexts.find_default(language) for language in AT_ONCE))
            yield
        finally:
            await contexts.close()

    app = FastAPI(lifespan=run, openapi_url=None)
    app.state.contexts = contexts
    app.add_exception_handler(ContextNotFound, _answer_with(404))
    app.add_exception_handler(ContextFailed, _answer_with(500))
    _add_routes(app)
    return app


def _answer_with(status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return PlainTextResponse(str(error), status)

    return answer


def _get_contexts(request: Request) -> Contexts:
    contexts: Contexts = request.app.state.contexts
    return contexts


All = Annotated[Contexts, Depends(_get_contexts)]
Token = Annotated[str | None, Header(alias="X-Access-Token")]


def _add_routes(app: FastAPI) -> None:
    app.get("/health")(show_health)
    app.post("/execute")(execute)
    app.post("/contexts")(create_context)
    app.get("/contexts")(list_contexts)
    app.post("/contexts/{context_id}/restart")(restart_context)
    app.delete("/contexts/{context_id}")(remove_context)


async def show_health() -> str:
    """Whether code can run."""
    return "OK"


async def execute(body: ExecutionRequest, contexts: All, token: Token = None) -> Response:
    """Run code, and stream what it shows."""
    if body.context_id and body.language:
        return PlainTextResponse("Only one of context_id or language can be provided", 400)
    context = contexts.get(body.context_id) if body.context_id else await contexts.find_default(body.language)
    execution = context.execute(body.code, body.env_vars or {}, lambda: read_environment(token))
    return StreamingResponse(_encode(execution), media_type="application/x-ndjson")


async def _encode(execution: Execution) -> AsyncIterator[bytes]:
    async for line in execution.read():
        yield encode(line)
    yield encode({"type": "end_of_execution"})


async def read_environment(token: str | None) -> dict[str, str]:
    """The variables that the sandbox was created with; the agent tells those who have its token."""
    async with httpx.AsyncClient(base_url=AGENT, trust_env=False) as agent:
        answer = await agent.get("/envs", headers={"X-Access-Token": token} if token else {})
        answer.raise_for_status()
        variables: dict[str, str] = answer.json()
        return variables


async def create_context(body: ContextRequest, contexts: All) -> ContextAnswer:
    """Start a kernel."""
    return _describe(await contexts.create(body.language, body.cwd))


async def list_contexts(contexts: All) -> list[ContextAnswer]:
    """All contexts, the default ones too."""
    return [_describe(context) for context in contexts.list()]


async def restart_context(context_id: str, contexts: All) -> None:
    """Start a context anew, with nothing defined."""
    await contexts.get(context_id).restart()


async def remove_context(context_id: str, contexts: All) -> None:
    """End a context."""
    await contexts.remove(context_id)


def _describe(context: Context) -> ContextAnswer:
    return ContextAnswer(id=context.id, language=context.language, cwd=context.cwd)
