"""`sandlot exec`: one command, its output as it comes, its exit code as our own."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from typing import Annotated

import typer

from sandlot import CommandExitException, CommandHandle, Sandbox, SandboxException
from sandlot.cli.output import SandboxId
from sandlot.cli.sandboxes import Pairs, parse_pairs

CHUNK = 64 * 1024
INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    settings = {"allow_interspersed_args": False, "ignore_unknown_options": True}
    app.command("exec", context_settings=settings)(execute)


def execute(
    sandbox: SandboxId,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="One argument alone is a shell line.")],
    user: Annotated[str | None, typer.Option("--user", "-u")] = None,
    cwd: Annotated[str | None, typer.Option("--cwd", "-w")] = None,
    env: Pairs = None,
    timeout: Annotated[float, typer.Option(help="Seconds; 0 waits for ever.")] = 0,
) -> None:
    """Run a command in a sandbox; its input is ours, and so is its exit code."""
    words = command[1:] if command[0] == "--" else command
    line = words[0] if len(words) == 1 else shlex.join(words)
    connected = Sandbox.connect(sandbox)
    piped = not sys.stdin.isatty()
    handle = connected.commands.run(
        line, background=True, envs=parse_pairs(env), user=user, cwd=cwd, timeout=timeout, stdin=piped
    )
    if piped:
        threading.Thread(target=_feed, args=(connected, handle.pid), daemon=True).start()
    raise typer.Exit(_follow(handle))


def _feed(sandbox: Sandbox, pid: int) -> None:
    """Pass our input on until it ends, or the command does."""
    try:
        while data := os.read(sys.stdin.fileno(), CHUNK):
            sandbox.commands.send_stdin(pid, data)
        sandbox.commands.close_stdin(pid)
    except SandboxException:
        return  # the command took all it wanted and ended


def _follow(handle: CommandHandle) -> int:
    try:
        return handle.wait(on_stdout=_show, on_stderr=_warn).exit_code
    except CommandExitException as error:
        return error.exit_code if error.exit_code >= 0 else 128 + 9
    except KeyboardInterrupt:
        handle.kill()
        return INTERRUPTED


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _warn(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
