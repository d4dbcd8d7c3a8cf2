"""What the control plane tells the agent of its sandbox, and the small routes that tell something back."""

from __future__ import annotations

import contextlib
import errno
import os

from sandlot_envd.auth import check_control_token, equals
from sandlot_envd.errors import BadRequest, Unauthenticated, Unimplemented
from sandlot_envd.fields import read_text
from sandlot_envd.http import Request, Response, Routes, answer_error, answer_json
from sandlot_envd.state import AgentState
from sandlot_envd.timestamps import parse_timestamp
from sandlot_protocol.http import BOOT_ID_FILE, CONTROL_TOKEN_HEADER, ENVD_VERSION

RUN_DIR = "/run/e2b"
KNOWN = frozenset(
    {
        "accessToken", "bootID", "caBundle", "defaultUser", "defaultWorkdir", "envVars", "imageEnv", "lifecycleID",
        "sandboxID", "templateID", "timestamp",
    }
)  # fmt: skip
"""E2B's own fields and Sandlot's. `lifecycleID` only tells volume mounts apart, of which the agent has none."""

FOREIGN = frozenset({"hyperloopIP", "volumeMounts"})
"""E2B's fields for machinery that Sandlot does otherwise, outside the agent."""


def routes(state: AgentState) -> Routes:
    """Return /init, /health and /envs."""

    async def init(request: Request) -> Response:
        try:
            apply(state, await request.read_json())
            response = Response(204)
        except (BadRequest, Unauthenticated, Unimplemented) as error:
            response = answer_error(error)
        response.headers.update({"X-Envd-Version": ENVD_VERSION, "Cache-Control": "no-store"})
        return response

    async def health(request: Request) -> Response:
        if CONTROL_TOKEN_HEADER in request.headers:
            # The control plane asks for the agent of one container, and may have reached another at its address.
            try:
                check_control_token(state, request.headers)
            except Unauthenticated as error:
                return answer_error(error)
        return Response(204, headers={"Cache-Control": "no-store"})

    async def envs(request: Request) -> Response:
        return answer_json(state.default_env)

    return {("POST", "/init"): init, ("GET", "/health"): health, ("GET", "/envs"): envs}


def apply(state: AgentState, body: dict[str, object]) -> None:
    """Take over what /init says; one that is not newer than the last is answered but changes nothing.

    Raises BadRequest and Unimplemented for fields that cannot be taken over, naming them.
    """
    _refuse_unknown(body)
    _check_owner(state, body)
    # Time goes on with every /init, replayed ones too: a resumed sandbox must never stay frozen.
    state.clock.unfreeze()
    stamp = parse_timestamp(read_text(body, "timestamp"))
    if stamp is not None and state.initialised_at is not None and stamp <= state.initialised_at:
        return
    user_env = _read_env(body, "envVars", state.user_env)
    image_env = _read_env(body, "imageEnv", state.image_env)
    access_token = read_text(body, "accessToken") or None
    if bundle := read_text(body, "caBundle"):
        image_env = {**_trust(state, bundle), **image_env}
    state.default_user = read_text(body, "defaultUser") or state.default_user
    state.default_workdir = read_text(body, "defaultWorkdir") or state.default_workdir
    if boot_id := read_text(body, "bootID"):
        _show_boot_id(state, boot_id)
    state.user_env, state.image_env, state.access_token = user_env, image_env, access_token
    state.initialised_at = stamp or state.initialised_at
    _introduce(state, read_text(body, "sandboxID"), read_text(body, "templateID"))


def _refuse_unknown(body: dict[str, object]) -> None:
    if foreign := sorted(FOREIGN & {name for name, value in body.items() if value}):
        raise Unimplemented(f"not supported by this agent: {', '.join(foreign)}")
    if unknown := sorted(body.keys() - KNOWN - FOREIGN):
        raise BadRequest(f"unknown fields: {', '.join(unknown)}")


def _check_owner(state: AgentState, body: dict[str, object]) -> None:
    """Without a control token anybody may call; then only who knows the present access token may change it."""
    if state.control_token is None and state.access_token is not None:
        given = read_text(body, "accessToken")
        if not equals(given, state.access_token):
            raise Unauthenticated("access token validation failed" if given else "access token reset not authorized")


def _read_env(body: dict[str, object], name: str, before: dict[str, str]) -> dict[str, str]:
    value = body.get(name)
    if value is None:
        return before
    if not isinstance(value, dict):
        raise BadRequest(f"{name} is not a map")
    for key in value:
        if not key or "=" in key or "\0" in key:
            raise BadRequest(f"a name in {name} is empty or contains '=' or NUL")
    return {key: read_text(value, key) for key in value}


def _trust(state: AgentState, bundle: str) -> dict[str, str]:
    """Let programs trust these certificates, where the image lets anybody write; raises BadRequest."""
    from sandlot_envd.trust import trust

    if "-----BEGIN CERTIFICATE-----" not in bundle:
        raise BadRequest("caBundle holds no certificate")
    try:
        return trust(bundle)
    except OSError as error:
        state.log.write("cannot add the certificates to trust", "warn", error=str(error))
        return {}


def _introduce(state: AgentState, sandbox_id: str, template_id: str) -> None:
    """Tell the sandbox's programs where they are, as E2B does: by variables and by files."""
    told = {"E2B_SANDBOX": "true", "E2B_SANDBOX_ID": sandbox_id, "E2B_TEMPLATE_ID": template_id}
    state.sandbox_id = sandbox_id or state.sandbox_id
    state.internal_env |= {name: value for name, value in told.items() if value}
    try:
        os.makedirs(RUN_DIR, exist_ok=True)
        for name, value in state.internal_env.items():
            _write(f"{RUN_DIR}/.{name}", value.encode("utf-8", "surrogateescape"))
    except OSError as error:
        # A read-only root has no place for them; the variables are there all the same.
        if error.errno != errno.EROFS:
            state.log.write("cannot write the sandbox's files", "warn", folder=RUN_DIR, error=str(error))


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o444)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)


def _show_boot_id(state: AgentState, boot_id: str) -> None:
    """Let programs see it too, where the control plane has put this file over the kernel's."""
    state.boot_id = boot_id
    if os.path.exists(BOOT_ID_FILE):
        with contextlib.suppress(OSError):
            _write(BOOT_ID_FILE, f"{boot_id}\n".encode())
