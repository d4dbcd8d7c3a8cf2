"""How the server's commands end when something is wrong: one line, and no stack trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from sandlot_server import daemon
from sandlot_server.errors import SandlotError


@contextmanager
def telling_errors() -> Iterator[None]:
    """End the command with the message alone, without a stack trace, on a failure that was to be expected."""
    try:
        yield
    except (daemon.DaemonError, SandlotError) as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """End the command with a message."""
    typer.echo(f"sandlot: {message}", err=True)
    raise typer.Exit(1)
