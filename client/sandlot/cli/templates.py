"""Templates: list them, and build one from a folder with a Dockerfile."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status

from sandlot._sync.api import Api
from sandlot.cli.context import Context, measure
from sandlot.cli.dockerfile import READY, read_dockerfile
from sandlot.cli.output import AsJson, print_json, print_rows
from sandlot.config import ConnectionConfig
from sandlot.exceptions import InvalidArgumentException, SandboxException, TemplateException

COLUMNS = ["template_id", "names", "cpus", "memory_mb", "public", "updated_at", "spawn_count"]
DOCKERFILES = ("e2b.Dockerfile", "Dockerfile")
POLL_S = 0.2
UPLOAD_S = 3600

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
    recipe = read_dockerfile(_find_dockerfile(folder, dockerfile).read_text())
    api, context = _connect(), Context(folder)
    size = {key: value for key, value in {"cpuCount": cpus, "memoryMB": memory}.items() if value is not None}
    build: dict[str, Any] = api.call("POST", "/v3/templates", {"name": name, **size}).parse(dict, "a build")
    for step in recipe.steps:
        if step["type"] == "COPY":
            _upload(api, context, build["templateID"], step)
    command = start if start is not None else recipe.start_command
    plan = {
        "fromImage": recipe.image,
        "steps": recipe.steps,
        "startCmd": command,
        "readyCmd": ready or (READY if command else ""),
        "force": no_cache,
    }
    api.call("POST", f"/v2/templates/{build['templateID']}/builds/{build['buildID']}", plan)
    _follow(api, build, quiet=as_json)
    if as_json:
        print_json({"template_id": build["templateID"], "build_id": build["buildID"], "names": build["names"]})


def _find_dockerfile(folder: Path, given: Path | None) -> Path:
    candidates = [given] if given else [folder / name for name in DOCKERFILES]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise InvalidArgumentException(f"there is no {' or '.join(str(path) for path in candidates)}")
    return found


def _upload(api: Api, context: Context, template_id: str, step: dict[str, Any]) -> None:
    """Send the files of a COPY step, unless the server has them."""
    paths = context.find(step["args"][0])
    step["filesHash"] = context.hash(paths, *step["args"])
    link = api.call("GET", f"/templates/{template_id}/files/{step['filesHash']}").parse(dict, "an upload link")
    if link["present"]:
        return
    with context.pack(paths) as archive:
        headers = {"Content-Length": str(measure(archive))}
        request = urllib.request.Request(link["url"], archive, headers, method="PUT")  # noqa: S310 - our server's link
        try:
            urllib.request.urlopen(request, timeout=UPLOAD_S).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            raise SandboxException(f"the server refused '{step['args'][0]}' ({error.code})") from error


def _follow(api: Api, build: dict[str, Any], *, quiet: bool) -> None:
    """Show what a build says until it is over; raises TemplateException when it has failed."""
    console, offset, began = Console(stderr=True, highlight=False), 0, time.monotonic()
    with console.status("waiting for its turn") as status:
        while True:
            path = f"/templates/{build['templateID']}/builds/{build['buildID']}/status"
            shown = api.call("GET", path, query={"logsOffset": str(offset)}).parse(dict, "a build's status")
            offset += len(shown["logEntries"])
            for entry in shown["logEntries"]:
                _show(console, status, entry["message"], quiet=quiet)
            if shown["status"] in ("ready", "error") and not shown["logEntries"]:
                break
            time.sleep(POLL_S)
    if shown["status"] == "error":
        reason = shown.get("reason") or {"message": "the build failed"}
        step = f"step {reason['step']}: " if "step" in reason else ""
        raise TemplateException(f"{step}{reason['message']}")
    if not quiet:
        console.print(f"built {build['names'][0]} in {time.monotonic() - began:.1f} s", markup=False)


def _show(console: Console, status: Status, message: str, *, quiet: bool) -> None:
    """A step is shown as what is being done; what it says stays above."""
    if message.startswith(("[base]", "[builder", "CACHED")) and "]: " not in message:
        status.update(message.rpartition(" [")[0].replace("[", r"\["))
    if not quiet:
        console.print(message, markup=False)
