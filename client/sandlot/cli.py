"""The `sandlot` command. Packages add subcommands through the entry point group `sandlot.commands`."""

from __future__ import annotations

from importlib.metadata import entry_points

import typer


def build() -> typer.Typer:
    """Return the command with everything that is installed: each entry point is called with the Typer app."""
    app = typer.Typer(
        name="sandlot",
        help="A self-hosted E2B: sandboxes on this machine, for the SDKs you already use.",
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
    )
    for entry in entry_points(group="sandlot.commands"):
        entry.load()(app)
    return app


def main() -> None:
    """Run the command line."""
    build()()
