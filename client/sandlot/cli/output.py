"""What the command prints: tables for people, JSON for programs, and errors with a next step."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sandlot.exceptions import (
    AuthenticationException,
    BuildException,
    DockerfileSyntaxError,
    InvalidArgumentException,
    RateLimitException,
    SandboxException,
    SandboxNotFoundException,
    ServerUnreachableException,
    ServiceBusyException,
    TimeoutException,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one document.")]
SandboxId = Annotated[str, typer.Argument(metavar="SANDBOX", help="Id of a sandbox; `sandlot ps` lists them.")]

NEXT_STEPS: list[tuple[type[Exception], str]] = [
    (ServerUnreachableException, ""),  # its own message says how to start a server
    (AuthenticationException, "`sandlot env` prints the key of this machine's server"),
    (SandboxNotFoundException, "`sandlot ps --all` lists what there is"),
    (RateLimitException, "kill a sandbox, or raise the server's limit (docs/settings.md)"),
    (ServiceBusyException, "try again in a moment"),
    (InvalidArgumentException, ""),
    (DockerfileSyntaxError, ""),
    (BuildException, ""),
    (TimeoutException, "`sandlot ps --all` shows whether the sandbox still runs"),
    (SandboxException, ""),
]


def explain(error: Exception) -> str | None:
    """Return an expected error's message with what to do next; None for an error that is ours to see in full."""
    for kind, step in NEXT_STEPS:
        if isinstance(error, kind):
            return f"{error} ({step})" if step else str(error)
    return str(error) if isinstance(error, OSError) else None


def print_rows(rows: Iterable[dict[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print dicts: as JSON whole, else the named columns as a table as wide as it has to be."""
    listed = list(rows)
    if as_json:
        print_json(listed)
        return
    table = Table(*(name.replace("_", " ") for name in columns), box=None, pad_edge=False, header_style="bold")
    for row in listed:
        table.add_row(*(format_cell(row.get(name)) for name in columns))
    # A pipe has no width: nothing is cut off for a program that reads.
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table, no_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document; times as RFC 3339."""
    typer.echo(json.dumps(value, indent=2, default=_encode))


def _encode(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def format_cell(value: Any) -> str:
    """Return a value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, dict):
        return " ".join(f"{name}={text}" for name, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def describe_rest(end: datetime) -> str:
    """Return how long it is to a moment: `4m 10s`."""
    seconds = max(0, int((end - datetime.now(UTC)).total_seconds()))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {seconds % 60}s"
