"""Fork and exec, by the function that the standard library's `subprocess` itself stands on.

`subprocess` would add file objects, locks and a second owner of the exit; `os.posix_spawn` cannot change the user.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import termios
from _posixsubprocess import fork_exec
from collections.abc import Iterator

from sandlot_envd.errors import BadRequest
from sandlot_envd.process.expendable import expendable
from sandlot_envd.process.identity import assumed
from sandlot_envd.state import DEFAULT_PATH
from sandlot_envd.users import User

UMASK = 0o022


class Program:
    """What to run, where, and as whom. `alone` says that no thread of the agent is at work."""

    __slots__ = ("alone", "argv", "cwd", "env", "user")

    def __init__(self, argv: list[str], env: dict[str, str], cwd: str, user: User, *, alone: bool) -> None:
        self.alone = alone
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.user = user


def execute(program: Program, argv: list[str], stdio: tuple[int, int, int], on_terminal: bool) -> int:
    """Start `argv` in the surroundings of `program`; returns the pid once it runs.

    Raises OSError when it cannot be executed, BadRequest when its working directory cannot be entered,
    ValueError for text that no program can be given.
    """
    told, tell = os.pipe()
    try:
        try:
            pid = _fork(program, argv, stdio, on_terminal, (told, tell))
        finally:
            os.close(tell)
        failure = b""
        while data := os.read(told, 4096):  # it comes in several pieces; its end is the exec itself
            failure += data
    finally:
        os.close(told)
    if failure:
        os.waitpid(pid, 0)
        _raise(failure, program)
    return pid


def _fork(
    program: Program, argv: list[str], stdio: tuple[int, int, int], on_terminal: bool, report: tuple[int, int]
) -> int:
    args = [_encode(arg) for arg in argv]
    env = [_encode(f"{name}={value}") for name, value in program.env.items()]
    candidates = [_encode(path) for path in _find_candidates(argv[0], program.env.get("PATH") or DEFAULT_PATH)]
    stdin, stdout, stderr = stdio
    with expendable(), _surroundings(program) as (uid, gid, groups):
        return fork_exec(
            args, candidates, True, (report[1],), _encode(program.cwd), env,  # type: ignore[arg-type]  # bytes do
            stdin, -1, -1, stdout, -1, stderr, report[0], report[1],
            # A group of its own: `kill 0` in one command must not reach the others, or the agent.
            True, on_terminal, -1 if on_terminal else 0,
            gid, groups, uid, UMASK, _acquire_terminal if on_terminal else None, True,  # type: ignore[arg-type]  # None does
        )  # fmt: skip


@contextlib.contextmanager
def _surroundings(program: Program) -> Iterator[tuple[int | None, int | None, list[int] | None]]:
    """Yield what the child has to change itself: nothing, when the agent can be that user for the moment."""
    user = program.user
    if os.geteuid() != 0:
        if user.uid != os.geteuid():
            raise BadRequest(f"the agent does not run as root: it cannot start processes as {user.name}")
        yield None, None, None
    elif program.alone:
        with assumed(user):
            yield None, None, None
    else:
        yield user.uid, user.gid, user.groups


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _find_candidates(name: str, path: str) -> list[str]:
    """Return where a shell would look for the program."""
    if "/" in name:
        return [name]
    return [os.path.join(folder or ".", name) for folder in path.split(":")]


def _acquire_terminal() -> None:
    """In the child, between fork and exec: make the terminal on stdin the session's own."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _raise(failure: bytes, program: Program) -> None:
    """Raise what the child reported: `kind:errno in hex:where`, where is empty for the exec itself."""
    _, code, where = [*failure.split(b":", 2), b"", b""][:3]
    number = int(code or b"0", 16)
    if not where:
        raise OSError(number, os.strerror(number))
    if number == errno.EPERM:
        raise BadRequest(f"the sandbox does not allow the agent to become {program.user.name}")
    raise BadRequest(f"cwd '{program.cwd}' cannot be entered: {os.strerror(number)}")
