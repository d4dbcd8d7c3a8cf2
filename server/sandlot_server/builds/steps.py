"""The steps of a build, each with the rules of E2B's builder: what it runs, and what it changes for those that follow.

Errors are worded as E2B's are, since SDKs show them and tests look for them.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from sandlot_server.build_models import Step
from sandlot_server.errors import AgentError, BuildFailed
from sandlot_server.models import Context
from sandlot_server.runtime.base import AGENT_PYTHON
from sandlot_server.shell import OnOutput, Shell

ROOT = Context(user="root", workdir="/")
MAKE_WORKDIR = """
[ ! -d "$1" ] || exit 0
new=$1
while parent=$(dirname "$new"); [ ! -d "$parent" ]; do new=$parent; done
mkdir -p "$1" && chown -R "$2" "$new" && echo made
"""
MAKE_USER = 'id -u -- "$1" >/dev/null 2>&1 || { useradd --create-home --shell /bin/bash -- "$1" && echo made; }'
MAKE_SUDOER = """
for group in sudo wheel; do ! getent group $group >/dev/null || { usermod -aG $group "$1"; break; }; done
passwd -d "$1" >/dev/null
grep -qF "$1 ALL=(ALL:ALL) NOPASSWD: ALL" /etc/sudoers || echo "$1 ALL=(ALL:ALL) NOPASSWD: ALL" >>/etc/sudoers
"""
PLACING = files("sandlot_server.builds") / "placing.py"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What holds after a step, and whether it may have changed files."""

    context: Context
    changed: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a step takes place."""

    context: Context
    open_shell: Callable[[], Awaitable[Shell]]
    """Starts the container, for steps that need one."""
    find_archive: Callable[[str], Path | None]
    on_output: OnOutput


async def take(step: Step, scene: Scene) -> Outcome:
    """Carry out a step; raises BuildFailed with E2B's words, AgentError, EngineError."""
    handler = HANDLERS.get(step.kind)
    if handler is None:
        raise BuildFailed(f"step type '{step.kind}' is not supported")
    return await handler(step, scene)


async def run(step: Step, scene: Scene) -> Outcome:
    """RUN [command, user?]"""
    _need(step, 1, "RUN requires command argument")
    context = replace(scene.context, user=step.args[1]) if len(step.args) > 1 and step.args[1] else scene.context
    command = step.args[0]
    shell = await scene.open_shell()
    try:
        end = await shell.run(command, context, scene.on_output)
    except AgentError as error:
        raise BuildFailed(f"failed to run command '{command}': command failed: {error}") from error
    if end.code != 0:
        raise BuildFailed(f"failed to run command '{command}': {end.status}")
    return Outcome(scene.context, changed=True)


async def copy(step: Step, scene: Scene) -> Outcome:
    """COPY [source, target, owner?, mode?], with the files in an archive"""
    _need(step, 2, f"{step.kind} requires a local path and a container path argument")
    if not step.files_hash:
        raise BuildFailed(f"{step.kind} requires files hash to be set")
    archive = scene.find_archive(step.files_hash)
    if archive is None:
        raise BuildFailed(f"the files of '{step.text}' were not uploaded")
    shell = await scene.open_shell()
    inside = f"/tmp/{step.files_hash}.tar"  # noqa: S108 - in the sandbox, where nothing else runs yet
    await shell.upload(archive, inside)
    arguments = json.dumps(_describe_copy(step, scene.context, inside))
    await _run_program(shell, [AGENT_PYTHON, "-I", "-S", "-B", "-c", PLACING.read_text(), arguments], "move files")
    await _run_program(shell, [AGENT_PYTHON, "-I", "-S", "-B", "-c", f"import os; os.unlink({inside!r})"], "clean up")
    return Outcome(scene.context, changed=True)


def _describe_copy(step: Step, context: Context, archive: str) -> dict[str, str | None]:
    source, target, owner, mode = (*step.args, "", "")[:4]
    owner = owner or f"{context.user}:{context.user}"
    return {
        "archive": archive,
        "source": source,
        "target": target,
        "owner": owner if ":" in owner else f"{owner}:{owner}",
        "mode": mode,
        "workdir": context.workdir,
        "user": context.user,
    }


async def set_variables(step: Step, scene: Scene) -> Outcome:
    """ENV [name, value, name, value, …]; `$NAME` in a value is replaced, commands in it are not run"""
    _need(step, 1, f"{step.kind} does not support passing no arguments")
    if len(step.args) % 2:
        raise BuildFailed(f"{step.kind} requires both a key and value arguments")
    env = dict(scene.context.env)
    for name, value in zip(step.args[::2], step.args[1::2], strict=True):
        if not name or "=" in name or "\0" in name + value:
            raise BuildFailed(f"'{name}' cannot be an environment variable")
        env[name] = await _expand(name, value, scene) if "$" in value else value
    return Outcome(replace(scene.context, env=env), changed=False)


async def _expand(name: str, value: str, scene: Scene) -> str:
    """Have the shell replace variables, and nothing else."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$(", "\\$(")
    said: list[str] = []
    shell = await scene.open_shell()
    context = replace(ROOT, env=scene.context.env)
    end = await shell.run(f'printf %s "{escaped}"', context, lambda stream, text: said.append(text))
    if end.code != 0:
        raise BuildFailed(f"failed to evaluate environment variable {name}: {end.status}: {''.join(said)}")
    return "".join(said)


async def set_workdir(step: Step, scene: Scene) -> Outcome:
    """WORKDIR [path]; what of it does not exist is made, and belongs to the current user"""
    _need(step, 1, "WORKDIR requires a path argument")
    path = posixpath.normpath(posixpath.join(scene.context.workdir or "/", step.args[0]))
    owner = f"{scene.context.user}:{scene.context.user}"
    said = await _run_script(scene, MAKE_WORKDIR, "failed to create workdir", path, owner)
    return Outcome(replace(scene.context, workdir=path), changed="made" in said)


async def set_user(step: Step, scene: Scene) -> Outcome:
    """USER [name, "true"?]; made where there is none, with `true` one that may become root without a password"""
    _need(step, 1, "USER requires a username argument")
    name = step.args[0]
    said = await _run_script(scene, MAKE_USER, "failed to create user", name)
    is_sudoer = len(step.args) > 1 and step.args[1] == "true"
    if is_sudoer:
        await _run_script(scene, MAKE_SUDOER, "failed to add user to sudo group", name)
    return Outcome(replace(scene.context, user=name), changed=is_sudoer or "made" in said)


async def _run_script(scene: Scene, script: str, failure: str, *args: str) -> str:
    """Run a script of ours as root with arguments that no shell looks into; return what it said."""
    said: list[str] = []

    def on_output(stream: str, text: str) -> None:
        said.append(text)
        if text.strip() != "made":
            scene.on_output(stream, text)

    shell = await scene.open_shell()
    end = await shell.run_program(["/bin/sh", "-c", script, "sh", *args], on_output)
    if end.code != 0:
        raise BuildFailed(f"{failure}: {end.status}: {''.join(said).strip()}")
    return "".join(said)


async def _run_program(shell: Shell, argv: list[str], what: str) -> None:
    said: list[str] = []
    end = await shell.run_program(argv, lambda stream, text: said.append(text))
    if end.code != 0:
        raise BuildFailed(f"failed to {what} in sandbox: {''.join(said).strip() or end.status}")


def _need(step: Step, count: int, message: str) -> None:
    if len(step.args) < count or not step.args[0]:
        raise BuildFailed(message)


HANDLERS: dict[str, Callable[[Step, Scene], Awaitable[Outcome]]] = {
    "RUN": run,
    "COPY": copy,
    "ADD": copy,
    "ENV": set_variables,
    "ARG": set_variables,
    "WORKDIR": set_workdir,
    "USER": set_user,
}
