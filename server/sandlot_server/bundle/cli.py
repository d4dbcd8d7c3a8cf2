"""`sandlot bundle`: everything that a site without a network needs, in one file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from sandlot_server.settings import Settings
from sandlot_server.telling import fail, telling_errors

app = typer.Typer(name="bundle", help="Carry templates, agent and server to a site without a network, in one file.")

File = Annotated[Path, typer.Argument(help="The bundle.")]
Templates = Annotated[
    list[str] | None, typer.Argument(help="Templates to put in besides the base template; all, where none is named.")
]
NoPackages = Annotated[
    bool, typer.Option("--no-packages", help="Leave out the Python packages: the other site has the server already.")
]
LOCK = Path(__file__).parents[3] / "requirements.lock"


@app.command()
def save(file: File, templates: Templates = None, no_packages: NoPackages = False) -> None:
    """Write images, templates, agent, server and packages to FILE."""
    from sandlot_server.bundle.saving import save as save_bundle

    lock = None if no_packages else LOCK
    if lock is not None and not lock.exists():
        fail(f"there is no {lock}, which names the packages: --no-packages leaves them out")
    with telling_errors():
        asyncio.run(save_bundle(Settings(), file, templates or [], lock=lock, say=_say))
    typer.echo(f"saved {file} ({file.stat().st_size / 1e6:.0f} MB)", err=True)


@app.command()
def load(file: File) -> None:
    """Verify FILE, give its images and agent to the engine, and take over its templates."""
    from sandlot_server.bundle.loading import load as load_bundle

    with telling_errors():
        asyncio.run(load_bundle(Settings(), file, _say))
    typer.echo(f"loaded {file}", err=True)


def _say(text: str) -> None:
    typer.echo(f"bundle: {text}", err=True)
