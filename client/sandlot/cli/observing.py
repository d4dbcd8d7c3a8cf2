"""What sandboxes did and do: logs, events, metrics."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from sandlot import ConnectionConfig, Sandbox, SandboxException, SandboxNotFoundException
from sandlot.cli.output import AsJson, SandboxId, print_json, print_rows
from sandlot.exceptions import ServerUnreachableException

POLL_S = 0.5
PAGE = 1000
"""Entries that one answer holds at most."""

MB = 1 << 20

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on as more comes, until Ctrl-C.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (logs, events, metrics):
        app.command()(command)


def _open(path: str, timeout_s: float | None = 60) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    config = ConnectionConfig()
    url = urlsplit(config.api_url)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.netloc, timeout=timeout_s)
    try:
        connection.request("GET", url.path + path, headers={"X-API-KEY": config.api_key or ""})
        return connection, connection.getresponse()
    except OSError as error:
        connection.close()
        raise ServerUnreachableException(
            f"no server answers on {config.api_url}: start one with `make up` or `sandlot serve`"
        ) from error


def _get(path: str) -> Any:
    connection, response = _open(path)
    with closing(connection):
        body = json.loads(response.read() or b"null")
    if response.status == 404:
        raise SandboxNotFoundException(body["message"])
    if response.status != 200:
        raise SandboxException(f"{response.status}: {body['message']}")
    return body


def logs(sandbox: SandboxId, follow: Follow = False, as_json: AsJson = False) -> None:
    """Show a sandbox's log."""
    if as_json and not follow:
        print_json(_get(f"/v2/sandboxes/{sandbox}/logs?direction=forward")["logs"])
        return
    for entry in _read_entries(sandbox, follow):
        typer.echo(json.dumps(entry) if as_json else _format_entry(entry))


def _read_entries(sandbox: str, follow: bool) -> Iterator[dict[str, Any]]:
    """Yield entries once each. The cursor is coarser than the entries' times, so some come twice."""
    cursor, seen = 0, set[str]()
    while True:
        page = _get(f"/v2/sandboxes/{sandbox}/logs?direction=forward&cursor={cursor}")["logs"]
        fresh = [entry for entry in page if json.dumps(entry, sort_keys=True) not in seen]
        yield from fresh
        if fresh:
            seen = {json.dumps(entry, sort_keys=True) for entry in page}
            cursor = int(datetime.fromisoformat(page[-1]["timestamp"]).timestamp() * 1000)
        if len(page) < PAGE or not fresh:
            if not follow:
                return
            time.sleep(POLL_S)


def _format_entry(entry: dict[str, Any]) -> str:
    moment = datetime.fromisoformat(entry["timestamp"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    fields = " ".join(f"{name}={value}" for name, value in entry["fields"].items())
    return f"{moment} {entry['level']:<5} {entry['message']} {fields}".rstrip()


def events(as_json: AsJson = False) -> None:
    """Show what happens to all sandboxes, as it happens, until Ctrl-C."""
    connection, response = _open("/_sandlot/events", timeout_s=None)
    with closing(connection):
        if response.status != 200:
            raise SandboxException(f"{response.status}: {response.read().decode(errors='replace')}")
        for line in response:
            if line.startswith(b"data:"):
                event = json.loads(line[5:])
                typer.echo(json.dumps(event) if as_json else f"{event['sandboxID']} {_format_entry(event)}")


def metrics(sandbox: SandboxId, follow: Follow = False, as_json: AsJson = False) -> None:
    """Show what a sandbox has used."""
    columns = ["timestamp", "cpu_pct", "cpus", "memory_mb", "memory_total_mb", "disk_mb", "disk_total_mb"]
    last = datetime.min.replace(tzinfo=UTC)
    while True:
        samples = [sample for sample in Sandbox.get_metrics(sandbox) if sample.timestamp.astimezone(UTC) > last]
        rows = [
            {
                "timestamp": sample.timestamp,
                "cpu_pct": sample.cpu_used_pct,
                "cpus": sample.cpu_count,
                "memory_mb": sample.mem_used // MB,
                "memory_total_mb": sample.mem_total // MB,
                "disk_mb": sample.disk_used // MB,
                "disk_total_mb": sample.disk_total // MB,
            }
            for sample in samples
        ]
        if rows or not follow:
            print_rows(rows, columns, as_json)
        if not follow:
            return
        last = max([last, *(sample.timestamp.astimezone(UTC) for sample in samples)])
        time.sleep(POLL_S * 4)
