"""The `sandlot` command. Packages add subcommands through the entry point group `sandlot.commands`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points

import typer
from rich.markup import escape

from sandlot.cli import copying, execution, observing, sandboxes, syncing, templates, terminal
from sandlot.cli.output import explain


def build() -> typer.Typer:
    """Return the command with everything that is installed: each entry point is called with the Typer app."""
    additions, missing = _load_additions()
    app = typer.Typer(
        name="sandlot",
        help="A self-hosted E2B: sandboxes on this machine, for the SDKs you already use.",
        epilog="  ".join(missing),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for module in (sandboxes, execution, terminal, copying, syncing, observing, templates):
        module.register(app)
    for register in additions:
        register(app)
    return app


def _load_additions() -> tuple[list[Callable[[typer.Typer], None]], list[str]]:
    """What other parts of the package add, and what to say of those whose own requirements are not installed."""
    found, missing = [], []
    for entry in entry_points(group="sandlot.commands"):
        try:
            found.append(entry.load())
        except ModuleNotFoundError as error:
            if str(error.name).startswith("sandlot"):
                raise
            package = escape(f"sandlot[{entry.name}]")
            missing.append(f"The {entry.name}'s commands need `pip install '{package}'` (there is no {error.name}).")
    return found, missing


def main() -> None:
    """Run the command line; expected failures end it with one line and what to do next."""
    try:
        build()()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python would complain about it once more at its end.
        sys.stdout = None
        sys.exit(141)
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        typer.echo(f"sandlot: {message}", err=True)
        sys.exit(1)


__all__ = ["build", "main"]
