"""Templates: list them, and build one from a folder with a Dockerfile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.status import Status

from sandlot._sync.api import Api
from sandlot.cli.output import AsJson, print_json, print_rows
from sandlot.config import ConnectionConfig
from sandlot.exceptions import InvalidArgumentException

if TYPE_CHECKING:
    from sandlot.template_models import LogEntry

COLUMNS = ["template_id", "names", "cpus", "memory_mb", "public", "updated_at", "spawn_count"]
DOCKERFILES = ("e2b.Dockerfile", "Dockerfile")

app = typer.Typer(name="template", help="Build and remove templates.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder with the Dockerfile and the files it copies.", exists=True)]
Name = Annotated[str, typer.Option("--name", "-n", help="Name, with a tag or without: web, web:v2.")]
Dockerfile = Annotated[Path | None, typer.Option("--dockerfile", "-f", help="Else e2b.Dockerfile, else Dockerfile.")]
Start = Annotated[str | None, typer.Option("--start", help="What runs in every sandbox; else CMD of the Dockerfile.")]
Ready = Annotated[str | None, typer.Option("--ready", help="A command that succeeds once that is ready.")]
Cpus = Annotated[int | None, typer.Option("--cpus")]
Memory = Annotated[int | None, typer.Option("--memory", help="In MiB.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Run every step again.")]


def register(command: typer.Typer) -> None:
    """Add the commands."""
    command.command()(templates)
    command.add_typer(app)


def _connect() -> Api:
    return Api(ConnectionConfig())


def templates(as_json: AsJson = False) -> None:
    """List templates."""
    answer = _connect().call("GET", "/templates")
    print_rows(answer.parse(lambda found: [_describe(one) for one in found], "templates"), COLUMNS, as_json)


def _describe(template: dict[str, Any]) -> dict[str, Any]:
    return {
        "template_id": template["templateID"],
        "names": template["names"],
        "cpus": template["cpuCount"],
        "memory_mb": template["memoryMB"],
        "public": template["public"],
        "updated_at": template["updatedAt"],
        "spawn_count": template["spawnCount"],
    }


@app.command()
def delete(template: Annotated[str, typer.Argument(help="Name or id.")]) -> None:
    """Remove a template that no sandbox uses."""
    from urllib.parse import quote

    _connect().call("DELETE", f"/templates/{quote(template, safe='')}")


@app.command()
def build(
    folder: Folder,
    name: Name,
    dockerfile: Dockerfile = None,
    start: Start = None,
    ready: Ready = None,
    cpus: Cpus = None,
    memory: Memory = None,
    no_cache: NoCache = False,
    as_json: AsJson = False,
) -> None:
    """Build a template from a Dockerfile."""
    from sandlot import Template  # with a parser of Dockerfiles, which no other command waits for
    from sandlot._dockerfile import READY

    template = Template(folder).from_dockerfile(str(_find_dockerfile(folder, dockerfile)))
    if start is not None:
        template.set_start_cmd(start, ready or READY)
    elif ready is not None:
        template.set_ready_cmd(ready)
    began = time.monotonic()
    with Console(stderr=True, highlight=False).status("waiting for its turn") as status:
        log = _Log(status, quiet=as_json)
        built = Template.build(
            template, name, cpu_count=cpus, memory_mb=memory, skip_cache=no_cache, on_build_logs=log.show
        )
    if as_json:
        print_json({"template_id": built.template_id, "build_id": built.build_id, "name": built.name})
    else:
        status.console.print(f"built {built.name} in {time.monotonic() - began:.1f} s", markup=False)


def _find_dockerfile(folder: Path, given: Path | None) -> Path:
    candidates = [given] if given else [folder / name for name in DOCKERFILES]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise InvalidArgumentException(f"there is no {' or '.join(str(path) for path in candidates)}")
    return found


class _Log:
    """Shows what a build says: a step as what is being done, and what it says above that."""

    def __init__(self, status: Status, *, quiet: bool) -> None:
        self._status = status
        self._quiet = quiet

    def show(self, entry: LogEntry) -> None:
        message = entry.message
        if message.startswith(("[base]", "[builder", "CACHED")) and "]: " not in message:
            self._status.update(message.rpartition(" [")[0].replace("[", r"\["))
        if not self._quiet and entry.level != "debug":
            self._status.console.print(message, markup=False)
