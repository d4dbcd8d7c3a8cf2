"""Starts programs: as a user, with pipes or a terminal, and with nothing of the agent's own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import termios
from struct import pack

from sandlot_envd.errors import AgentError, BadRequest, ResourceExhausted, translate
from sandlot_envd.process.execute import Program, execute

NOT_FOUND = frozenset({errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.EISDIR})
"""Failures to run a program that a shell would report by ending with 127 or 126."""


class Spawned:
    """A started process and the agent's ends of its pipes or terminal (descriptors, non-blocking)."""

    __slots__ = ("outputs", "pid", "stdin")

    def __init__(self, pid: int, outputs: dict[str, int], stdin: int | None) -> None:
        self.pid = pid
        self.outputs = outputs
        self.stdin = stdin


def spawn_piped(program: Program, with_stdin: bool) -> Spawned:
    """Start `program` with stdout and stderr piped, stdin piped or empty. Raises AgentError when it cannot be."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        try:
            stdout, stdout_end = _open_pipe(ours, theirs)
            stderr, stderr_end = _open_pipe(ours, theirs)
            stdin_end, stdin = (None, None)
            if with_stdin:
                stdin_end, stdin = _open_pipe(theirs, ours)
            else:
                stdin_end = _keep(theirs, os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            raise translate(error, "cannot open pipes") from error
        pid = _start(program, (stdin_end, stdout_end, stderr_end), on_terminal=False)
        ours.pop_all()
    for fd in (stdout, stderr, stdin):
        if fd is not None:
            os.set_blocking(fd, False)
    return Spawned(pid, {"stdout": stdout, "stderr": stderr}, stdin)


def spawn_terminal(program: Program, rows: int, cols: int) -> Spawned:
    """Start `program` as the leader of a session of its own on a new terminal. Raises AgentError when it cannot be."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        try:
            master, slave = os.openpty()
            _keep(ours, master)
            _keep(theirs, slave)
            os.fchown(slave, program.user.uid, -1)
            set_size(master, rows, cols)
        except OSError as error:
            raise translate(error, "cannot open a terminal") from error
        pid = _start(program, (slave, slave, slave), on_terminal=True)
        ours.pop_all()
    os.set_blocking(master, False)
    return Spawned(pid, {"pty": master}, None)


def set_size(master: int, rows: int, cols: int) -> None:
    """Set a terminal's size in characters; its foreground processes are told."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, pack("HHHH", rows, cols, 0, 0))


def _open_pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    """Return both ends of a new pipe, each to be closed by its stack."""
    read_end, write_end = os.pipe()
    return _keep(readers, read_end), _keep(writers, write_end)


def _keep(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def _start(program: Program, stdio: tuple[int, int, int], on_terminal: bool) -> int:
    """Start `program`; one that cannot be run ends with 127 or 126 and a shell's words, as on E2B."""
    name = program.argv[0]
    try:
        return execute(program, program.argv, stdio, on_terminal)
    except ValueError as error:
        raise BadRequest(f"error starting process '{name}': {error}") from error
    except OSError as error:
        if error.errno not in NOT_FOUND:
            raise _explain(error, name) from error
        with contextlib.suppress(OSError):
            return execute(program, ["/bin/sh", "-c", 'exec "$@"', "sh", *program.argv], stdio, on_terminal)
        reason = f"{error.strerror}; this image has no /bin/sh that could say so"
        raise BadRequest(f"error starting process '{name}': {reason}") from error


def _explain(error: OSError, name: str) -> AgentError:
    translated = translate(error, f"error starting process '{name}'")
    return translated if isinstance(translated, ResourceExhausted) else BadRequest(translated.message)
