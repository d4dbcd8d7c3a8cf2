"""What the control plane tells the agent, and the small routes that tell something back."""

from __future__ import annotations

import contextlib
import os

from sandlot_envd.errors import BadRequest
from sandlot_envd.http import Request, Response, Routes, answer_json
from sandlot_envd.state import AgentState
from sandlot_protocol.http import ENVD_VERSION

RUN_DIR = "/run/e2b"
KNOWN = frozenset(
    {
        "accessToken", "bootID", "defaultUser", "defaultWorkdir", "envVars", "imageEnv",
        "sandboxID", "templateID", "timestamp",
    }
)  # fmt: skip
"""E2B's own fields and Sandlot's. Those of E2B's machinery that this agent has not are refused by name."""


def routes(state: AgentState) -> Routes:
    """Return /init, /health, /envs and the freeze family."""

    async def init(request: Request) -> Response:
        body = await request.read_json()
        _apply(state, body)
        return Response(204, headers={"X-Envd-Version": ENVD_VERSION, "Cache-Control": "no-store"})

    async def health(request: Request) -> Response:
        return Response(204, headers={"Cache-Control": "no-store"})

    async def envs(request: Request) -> Response:
        return answer_json(state.default_env)

    async def freeze(request: Request) -> Response:
        state.clock.freeze()
        return Response(204)

    async def unfreeze(request: Request) -> Response:
        state.clock.unfreeze()
        return Response(204)

    return {
        ("POST", "/init"): init,
        ("GET", "/health"): health,
        ("GET", "/envs"): envs,
        ("POST", "/freeze"): freeze,
        ("POST", "/unfreeze"): unfreeze,
    }


def _apply(state: AgentState, body: dict[str, object]) -> None:
    """Take over what /init says; one that is older than the last is answered but changes nothing."""
    if unknown := body.keys() - KNOWN:
        raise BadRequest(f"not supported by this agent: {', '.join(sorted(unknown))}")
    stamp = _parse_timestamp(body.get("timestamp"))
    if stamp is not None and state.initialised_at is not None and stamp < state.initialised_at:
        return
    state.initialised_at = stamp or state.initialised_at
    state.access_token = _read_text(body, "accessToken") or None
    state.default_user = _read_text(body, "defaultUser") or state.default_user
    state.default_workdir = _read_text(body, "defaultWorkdir") or state.default_workdir
    state.boot_id = _read_text(body, "bootID") or state.boot_id
    state.image_env = _read_env(body, "imageEnv", state.image_env)
    state.user_env = _read_env(body, "envVars", state.user_env)
    if sandbox_id := _read_text(body, "sandboxID"):
        _introduce(state, sandbox_id, _read_text(body, "templateID"))


def _read_text(body: dict[str, object], name: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str) or "\0" in value:
        raise BadRequest(f"{name} is not a text")
    return value


def _read_env(body: dict[str, object], name: str, before: dict[str, str]) -> dict[str, str]:
    if name not in body:
        return before
    value = body[name] or {}
    if not isinstance(value, dict) or not all(isinstance(v, str) and "\0" not in v for v in value.values()):
        raise BadRequest(f"{name} is not a map of texts")
    return value


def _parse_timestamp(value: object) -> float | None:
    """Return unix seconds of an RFC 3339 time, None without one."""
    if not value:
        return None
    from datetime import datetime

    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError as error:
        raise BadRequest(f"timestamp is not RFC 3339: {value}") from error


def _introduce(state: AgentState, sandbox_id: str, template_id: str) -> None:
    """Tell the sandbox's programs where they are, as E2B does: variables and files."""
    state.internal_env = {
        "E2B_SANDBOX": "true",
        "E2B_SANDBOX_ID": sandbox_id,
        "E2B_TEMPLATE_ID": template_id,
    }
    # On a read-only root there is nowhere to put them; the variables are there all the same.
    with contextlib.suppress(OSError):
        os.makedirs(RUN_DIR, exist_ok=True)
        for name, value in state.internal_env.items():
            with open(f"{RUN_DIR}/.{name}", "w", encoding="utf-8") as file:
                file.write(value)
