"""Sandboxes as a whole: list, create, pause, resume, snapshot, kill."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sandlot import NotFoundException, Sandbox, SandboxInfo, SandboxQuery, SandboxState
from sandlot.cli.output import AsJson, SandboxId, describe_rest, print_json, print_rows

Pairs = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be given several times.")]
Timeout = Annotated[int, typer.Option("--timeout", "-t", help="Seconds until it ends by itself.")]
SandboxIds = Annotated[list[str] | None, typer.Argument(metavar="SANDBOX…")]

COLUMNS = ["sandbox_id", "template", "state", "started_at", "ends_in", "cpus", "memory_mb", "metadata"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (ps, create, pause, resume, snapshot, snapshots, kill, timeout):
        app.command()(command)


def ps(
    show_all: Annotated[bool, typer.Option("--all", "-a", help="Paused ones too.")] = False,
    metadata: Pairs = None,
    as_json: AsJson = False,
) -> None:
    """List sandboxes."""
    states = [SandboxState.RUNNING, SandboxState.PAUSED] if show_all else [SandboxState.RUNNING]
    query = SandboxQuery(metadata=parse_pairs(metadata) or None, state=states)
    paginator, rows = Sandbox.list(query=query), []
    while paginator.has_next:
        rows += [_describe(info) for info in paginator.next_items()]
    print_rows(rows, COLUMNS, as_json)


def _describe(info: SandboxInfo) -> dict[str, Any]:
    return {
        "sandbox_id": info.sandbox_id,
        "template": info.name or info.template_id,
        "state": info.state.value,
        "started_at": info.started_at,
        "end_at": info.end_at,
        "ends_in": describe_rest(info.end_at) if info.state is SandboxState.RUNNING else "",
        "cpus": info.cpu_count,
        "memory_mb": info.memory_mb,
        "metadata": info.metadata,
    }


def create(
    template: Annotated[str, typer.Argument(help="Template or snapshot.")] = "base",
    seconds: Timeout = 300,
    env: Pairs = None,
    metadata: Pairs = None,
    as_json: AsJson = False,
) -> None:
    """Create a sandbox and print its id."""
    sandbox = Sandbox.create(template, seconds, envs=parse_pairs(env), metadata=parse_pairs(metadata))
    if as_json:
        print_json(_describe(sandbox.get_info()))
    else:
        typer.echo(sandbox.sandbox_id)


def parse_pairs(pairs: list[str] | None) -> dict[str, str]:
    """Return NAME=VALUE arguments as a dict; ends the command on one that is none."""
    parsed = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"'{pair}' is not NAME=VALUE")
        parsed[name] = value
    return parsed


def pause(
    sandbox: SandboxId,
    memory: Annotated[bool, typer.Option(help="Keep processes as they are; without, only files stay.")] = True,
) -> None:
    """Pause a sandbox."""
    if not Sandbox.pause(sandbox, keep_memory=memory):
        typer.echo(f"{sandbox} is paused already", err=True)


def resume(sandbox: SandboxId, seconds: Timeout = 300) -> None:
    """Resume a paused sandbox."""
    Sandbox.connect(sandbox, seconds)


def timeout(sandbox: SandboxId, seconds: Annotated[int, typer.Argument(min=0)]) -> None:
    """Let a sandbox end so many seconds from now."""
    Sandbox.set_timeout(sandbox, seconds)


def snapshot(
    sandbox: SandboxId, name: Annotated[str | None, typer.Option(help="Name to create from later.")] = None
) -> None:
    """Keep a sandbox's files as a template, and print its id."""
    typer.echo(Sandbox.create_snapshot(sandbox, name).snapshot_id)


def snapshots(
    delete: Annotated[list[str] | None, typer.Option(metavar="SNAPSHOT", help="Delete it instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """List snapshots, or delete some."""
    for snapshot_id in delete or []:
        if not Sandbox.delete_snapshot(snapshot_id):
            raise NotFoundException(f"there is no snapshot {snapshot_id}")
    if delete:
        return
    paginator, rows = Sandbox.list_snapshots(), []
    while paginator.has_next:
        rows += [{"snapshot_id": one.snapshot_id, "names": one.names} for one in paginator.next_items()]
    print_rows(rows, ["snapshot_id", "names"], as_json)


def kill(
    sandboxes: SandboxIds = None,
    everything: Annotated[bool, typer.Option("--all", help="Every sandbox, paused ones too.")] = False,
) -> None:
    """Kill sandboxes."""
    chosen = [info.sandbox_id for info in _list_all()] if everything else sandboxes or []
    if not chosen and not everything:
        raise typer.BadParameter("name a sandbox, or give --all")
    missing = [sandbox_id for sandbox_id in chosen if not Sandbox.kill(sandbox_id)]
    if missing and not everything:
        raise NotFoundException(f"no such sandbox: {', '.join(missing)}")


def _list_all() -> list[SandboxInfo]:
    paginator, found = Sandbox.list(), []
    while paginator.has_next:
        found += paginator.next_items()
    return found
