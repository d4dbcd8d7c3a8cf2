"""The `sandlot` command. Packages add subcommands through the entry point group `sandlot.commands`."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import typer

from sandlot.cli import copying, execution, observing, sandboxes, syncing, templates, terminal
from sandlot.cli.output import explain


def build() -> typer.Typer:
    """Return the command with everything that is installed: each entry point is called with the Typer app."""
    app = typer.Typer(
        name="sandlot",
        help="A self-hosted E2B: sandboxes on this machine, for the SDKs you already use.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for module in (sandboxes, execution, terminal, copying, syncing, observing, templates):
        module.register(app)
    for entry in entry_points(group="sandlot.commands"):
        entry.load()(app)
    return app


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
