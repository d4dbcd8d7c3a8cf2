"""What sandboxes did and do: logs, events, metrics."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from sandlot import ConnectionConfig, Sandbox, SandboxException, SandboxNotFoundException
from sandlot._sync.api import Api
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


@contextmanager
def _open(path: str) -> Iterator[http.client.HTTPResponse]:
    """Have the answer to a GET that goes on; raises ServerUnreachableException when there is none, or it breaks."""
    config = ConnectionConfig()
    url = urlsplit(config.api_url)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    with closing(kind(url.netloc)) as connection:
        try:
            connection.request("GET", url.path + path, headers={"X-API-KEY": config.api_key or ""})
            yield connection.getresponse()
        except BrokenPipeError:  # whoever reads what we print has seen enough
            raise
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnreachableException(
                f"no server answers on {config.api_url}, or not any more: start one with `make up` or `sandlot serve`"
            ) from error


def _read_page(sandbox: str, cursor: int) -> list[dict[str, Any]]:
    query = {"direction": "forward", "cursor": str(cursor)}
    answer = Api(ConnectionConfig()).call("GET", f"/v2/sandboxes/{quote(sandbox)}/logs", query=query, absorb=(404,))
    if answer.status == 404:
        raise SandboxNotFoundException(answer.message)
    return answer.parse(lambda page: list(page["logs"]), "logs")


def logs(sandbox: SandboxId, follow: Follow = False, as_json: AsJson = False) -> None:
    """Show a sandbox's log."""
    if as_json and not follow:
        print_json(list(_read_entries(sandbox, follow)))
        return
    for entry in _read_entries(sandbox, follow):
        typer.echo(json.dumps(entry) if as_json else _format_entry(entry))


def _read_entries(sandbox: str, follow: bool) -> Iterator[dict[str, Any]]:
    """Yield entries once each. The cursor is coarser than the entries' times, so some come twice."""
    cursor, seen = 0, set[str]()
    while True:
        page = _read_page(sandbox, cursor)
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
    with _open("/_sandlot/events") as response:
        if response.status != 200:
            raise SandboxException(f"{response.status}: {response.read().decode(errors='replace')}")
        for line in response:
            if line.startswith(b"data:"):
                event = json.loads(line[5:])
                typer.echo(json.dumps(event) if as_json else f"{event['sandboxID']} {_format_entry(event)}")
    raise ServerUnreachableException("the server has ended the stream of events")


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
