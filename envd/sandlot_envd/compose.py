"""POST /files/compose: several files of the sandbox become one, which replaces the destination at once."""

from __future__ import annotations

import contextlib
import os
import stat

from sandlot_envd import disk
from sandlot_envd.errors import BadRequest, NotFound, translate
from sandlot_envd.filesystem.folders import make_folders
from sandlot_envd.http import Request, Response, answer_json
from sandlot_envd.paths import resolve
from sandlot_envd.state import AgentState
from sandlot_envd.upload import tell
from sandlot_envd.users import User
from sandlot_envd.xattrs import read_metadata

PIECE = 64 * 1024 * 1024
"""Bytes that the kernel is asked to copy at once."""


async def compose(state: AgentState, request: Request) -> Response:
    """Concatenate `source_paths` into `destination`, then remove them; answer with the new file. Raises AgentError."""
    body = await request.read_json()
    sources, destination, username = body.get("source_paths"), body.get("destination"), body.get("username") or ""
    if not isinstance(sources, list) or not sources or not all(isinstance(one, str) for one in sources):
        raise BadRequest("source_paths must be a list of paths, and not be empty")
    if not isinstance(destination, str) or not destination:
        raise BadRequest("destination is required")
    if not isinstance(username, str):
        raise BadRequest("username is not a string")
    user = state.find_user(username)
    target = resolve(destination, user, state.default_workdir)
    paths = [resolve(one, user, state.default_workdir) for one in sources]
    await disk.work(_compose, paths, target, user)
    return answer_json(tell(target, read_metadata(target)))


def _compose(sources: list[str], target: str, user: User) -> None:
    for source in sources:
        _check_source(source, target)
    if os.path.isdir(target):
        raise BadRequest(f"path is a directory: {target}")
    scratch = f"{target}.e2b-compose.{os.urandom(8).hex()}.tmp"
    try:
        make_folders(os.path.dirname(target), user)
        try:
            _concatenate(sources, scratch, user)
            os.rename(scratch, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)
            raise
    except NotADirectoryError as error:
        raise BadRequest(f"a part of '{target}' is a file") from error
    except OSError as error:
        raise translate(error, f"error composing '{target}'") from error
    for source in set(sources):
        with contextlib.suppress(OSError):  # composed all the same: E2B, too, leaves what it cannot remove
            os.unlink(source)


def _check_source(path: str, target: str) -> None:
    if os.path.normpath(path) == os.path.normpath(target):
        raise BadRequest(f"source path '{path}' cannot be the same as the destination")
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"source file not found: {path}") from error
    except OSError as error:
        raise translate(error, f"error reading '{path}'") from error
    if not stat.S_ISREG(mode):
        raise BadRequest(f"source path is not a regular file: {path}")


def _concatenate(sources: list[str], scratch: str, user: User) -> None:
    out = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.fchown(out, user.uid, user.gid)
        for source in sources:
            fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                while os.sendfile(out, fd, None, PIECE):
                    pass
            finally:
                os.close(fd)
    finally:
        os.close(out)
