"""Starts programs: as a user, with pipes or a terminal, and with nothing of the agent's own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import termios
from collections.abc import Callable
from struct import pack
from typing import IO

from sandlot_envd.errors import BadRequest, translate
from sandlot_envd.users import User

Starter = Callable[[list[str]], "subprocess.Popen[bytes]"]

OOM_SCORE = b"100"
"""Under memory pressure the kernel takes commands before it takes the agent."""

UMASK = 0o022


class Spawned:
    """A started process and the agent's ends of its pipes or terminal (descriptors, non-blocking)."""

    __slots__ = ("outputs", "pid", "stdin")

    def __init__(self, pid: int, outputs: dict[str, int], stdin: int | None) -> None:
        self.pid = pid
        self.outputs = outputs
        self.stdin = stdin


def spawn_piped(argv: list[str], env: dict[str, str], cwd: str, user: User, with_stdin: bool) -> Spawned:
    """Start `argv` with stdout and stderr piped, stdin piped or empty. Raises AgentError when it cannot be."""
    stdin = subprocess.PIPE if with_stdin else subprocess.DEVNULL
    process = _spawn(argv, env, cwd, user, stdin, subprocess.PIPE, subprocess.PIPE)
    stdout, stderr = _take_fd(process.stdout), _take_fd(process.stderr)
    assert stdout is not None
    assert stderr is not None
    return Spawned(process.pid, {"stdout": stdout, "stderr": stderr}, _take_fd(process.stdin))


def spawn_terminal(argv: list[str], env: dict[str, str], cwd: str, user: User, rows: int, cols: int) -> Spawned:
    """Start `argv` as the leader of a session of its own on a new terminal. Raises AgentError when it cannot be."""
    try:
        master, slave = os.openpty()
    except OSError as error:
        raise translate(error, "opening a terminal") from error
    try:
        os.fchown(slave, user.uid, _find_tty_group(user))
        os.fchmod(slave, 0o620)
        set_size(master, rows, cols)
        process = _spawn(argv, env, cwd, user, slave, slave, slave, terminal=True)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    os.set_blocking(master, False)
    return Spawned(process.pid, {"pty": master}, None)


def set_size(master: int, rows: int, cols: int) -> None:
    """Set a terminal's size in characters; its foreground processes are told."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, pack("HHHH", rows, cols, 0, 0))


def _find_tty_group(user: User) -> int:
    return 5 if os.path.exists("/etc/group") else user.gid  # Debian's, Alpine's and Fedora's tty group


def _acquire_terminal() -> None:
    """In the child, between fork and exec: make the terminal on stdin the session's own."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _spawn(
    argv: list[str], env: dict[str, str], cwd: str, user: User, stdin: int, stdout: int, stderr: int,
    terminal: bool = False,
) -> subprocess.Popen[bytes]:  # fmt: skip
    if not os.path.isdir(cwd):
        raise BadRequest(f"cwd '{cwd}' does not exist")

    def start(command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr,
            user=user.uid, group=user.gid, extra_groups=user.groups, umask=UMASK,
            # A group of its own: `kill 0` in one command must not reach the others.
            start_new_session=terminal, process_group=None if terminal else 0,
            preexec_fn=_acquire_terminal if terminal else None,
        )  # fmt: skip

    try:
        process = _start_or_explain(start, argv)
    except ValueError as error:
        raise BadRequest(f"cannot start '{argv[0]}': {error}") from error
    # The reaper collects the exit; without this the standard library would try to as well.
    process.returncode = 0
    _mark_expendable(process.pid)
    return process


def _start_or_explain(start: Starter, argv: list[str]) -> subprocess.Popen[bytes]:
    """Start `argv`; a program that cannot be run ends with 127 or 126 by a shell's words, as on E2B."""
    try:
        return start(argv)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR):
            raise translate(error, f"cannot start '{argv[0]}'") from error
        with contextlib.suppress(OSError):
            return start(["/bin/sh", "-c", 'exec "$@"', "sh", *argv])
        raise BadRequest(f"cannot start '{argv[0]}': this image has no such program, and no /bin/sh") from error


def _take_fd(pipe: IO[bytes] | None) -> int | None:
    """Take a pipe's descriptor out of the file object that would close it, and make it non-blocking."""
    if pipe is None:
        return None
    fd = os.dup(pipe.fileno())
    pipe.close()
    os.set_blocking(fd, False)
    return fd


def _mark_expendable(pid: int) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY)
        try:
            os.write(fd, OOM_SCORE)
        finally:
            os.close(fd)
