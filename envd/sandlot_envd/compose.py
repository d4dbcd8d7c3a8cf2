"""POST /files/compose: several files of the sandbox become one, which replaces the destination at once."""

from __future__ import annotations

import asyncio
import os
import stat

from sandlot_envd.errors import BadRequest, NotFound, translate
from sandlot_envd.filesystem.entries import describe
from sandlot_envd.filesystem.folders import make_folders
from sandlot_envd.http import Request, Response, answer_json
from sandlot_envd.paths import resolve
from sandlot_envd.state import AgentState
from sandlot_envd.users import Names, User

CHUNK = 1024 * 1024


async def compose(state: AgentState, request: Request) -> Response:
    """Concatenate `source_paths` into `destination`, then remove them; answer with the new entry. Raises AgentError."""
    body = await request.read_json()
    sources, destination, username = body.get("source_paths"), body.get("destination"), body.get("username") or ""
    if not isinstance(sources, list) or not sources or not all(isinstance(one, str) and one for one in sources):
        raise BadRequest("source_paths is not a list of paths")
    if not isinstance(destination, str) or not destination or not isinstance(username, str):
        raise BadRequest("destination is not a path")
    user = state.find_user(username)
    paths = [resolve(one, user, state.default_workdir) for one in sources]
    target = resolve(destination, user, state.default_workdir)
    await asyncio.get_running_loop().run_in_executor(None, _compose, paths, target, user)
    return answer_json(describe(target, Names()))


def _compose(sources: list[str], target: str, user: User) -> None:
    for source in sources:
        _check_source(source)
    if os.path.isdir(target):
        raise BadRequest(f"path is a directory: {target}")
    scratch = f"{target}.compose-{os.getpid()}-{id(sources):x}"
    try:
        make_folders(os.path.dirname(target), user)
        _concatenate(sources, scratch, user)
        os.rename(scratch, target)
    except OSError as error:
        raise translate(error, f"error composing '{target}'") from error
    finally:
        if os.path.exists(scratch):
            os.unlink(scratch)
    for source in set(sources) - {target}:
        os.unlink(source)


def _check_source(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise NotFound(f"path '{path}' does not exist") from error
    except OSError as error:
        raise translate(error, f"error reading '{path}'") from error
    if not stat.S_ISREG(mode):
        raise BadRequest(f"path '{path}' is not a regular file")


def _concatenate(sources: list[str], scratch: str, user: User) -> None:
    out = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.fchown(out, user.uid, user.gid)
        for source in sources:
            with open(source, "rb", buffering=0) as file:
                while data := file.read(CHUNK):
                    view = memoryview(data)
                    while view:
                        view = view[os.write(out, view) :]
    finally:
        os.close(out)
