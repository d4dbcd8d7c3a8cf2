"""`sandlot shell`: a terminal in a sandbox, as if it stood here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Annotated

import typer

from sandlot import AsyncCommandHandle, AsyncSandbox, CommandExitException, PtySize, SandboxException
from sandlot.cli.output import SandboxId

CHUNK = 64 * 1024


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(shell)


def shell(
    sandbox: SandboxId,
    user: Annotated[str | None, typer.Option("--user", "-u")] = None,
    cwd: Annotated[str | None, typer.Option("--cwd", "-w")] = None,
) -> None:
    """Open a terminal in a sandbox; it ends with the shell's own exit code."""
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise typer.BadParameter("a shell needs a terminal; `sandlot exec` runs a command without one")
    raise typer.Exit(asyncio.run(_run(sandbox, user, cwd)))


async def _run(sandbox_id: str, user: str | None, cwd: str | None) -> int:
    sandbox = await AsyncSandbox.connect(sandbox_id)
    term = {"TERM": os.environ.get("TERM", "xterm-256color")}
    handle = await sandbox.pty.create(_measure(), on_data=_show, user=user, cwd=cwd, envs=term, timeout=0)
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    resized = asyncio.Event()
    typist = loop.create_task(_type(sandbox, handle.pid, typed))
    sizer = loop.create_task(_resize(sandbox, handle.pid, resized))
    with _raw_terminal():
        loop.add_reader(0, lambda: typed.put_nowait(os.read(0, CHUNK)))
        loop.add_signal_handler(signal.SIGWINCH, resized.set)
        try:
            return await _wait(handle)
        finally:
            loop.remove_reader(0)
            loop.remove_signal_handler(signal.SIGWINCH)
            for task in (typist, sizer):
                task.cancel()
            await asyncio.gather(typist, sizer, return_exceptions=True)


async def _wait(handle: AsyncCommandHandle) -> int:
    try:
        return (await handle.wait()).exit_code
    except CommandExitException as error:
        return error.exit_code if error.exit_code >= 0 else 128 + 9


async def _type(sandbox: AsyncSandbox, pid: int, typed: asyncio.Queue[bytes]) -> None:
    """Send what is typed, in order; several keys at once where the network is slower than the hand."""
    while True:
        data = await typed.get()
        while not typed.empty():
            data += typed.get_nowait()
        with contextlib.suppress(SandboxException):
            await sandbox.pty.send_stdin(pid, data)


async def _resize(sandbox: AsyncSandbox, pid: int, resized: asyncio.Event) -> None:
    while True:
        await resized.wait()
        resized.clear()
        with contextlib.suppress(SandboxException):
            await sandbox.pty.resize(pid, _measure())


def _measure() -> PtySize:
    # Of the terminal itself: COLUMNS and LINES may be left over from another one.
    columns, lines = os.get_terminal_size(0)
    return PtySize(rows=lines, cols=columns)


def _show(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Every key goes to the sandbox, Ctrl-C too; the terminal is as before afterwards, whatever happens."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
