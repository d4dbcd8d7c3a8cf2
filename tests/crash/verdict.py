"""What must hold after everything was killed: see `check`. Every violation is a line of text."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing

from crash.chaos import list_containers
from crash.ledger import Ledger, Promise
from sandlot import (
    NotFoundException,
    Sandbox,
    SandboxException,
    SandboxNotRunningException,
    SandboxUnreachableException,
)
from sandlot_server.runtime.forgotten import find
from support import engine
from support.live import LiveServer, wait_until

LOG_S = 60
SWEEP_S = 90
TRIES = 10


def check(server: LiveServer, ledger: Ledger) -> list[str]:
    """Return what was lost or is wrong; nothing is, when the list is empty."""
    found = [line for promise in ledger.promises.values() for line in _check_sandbox(server, ledger, promise)]
    found += [line for snapshot, files in ledger.snapshots.items() for line in _check_snapshot(snapshot, files)]
    return found


def _check_sandbox(server: LiveServer, ledger: Ledger, promise: Promise) -> Iterator[str]:
    try:
        sandbox = _connect(promise.sandbox_id)
    except NotFoundException:
        ledger.count("sandboxes gone")
        yield from _check_gone(server, ledger, promise)
        return
    except SandboxException as error:
        yield f"{promise.sandbox_id}: cannot be connected to: {error}"
        return
    ledger.count("sandboxes alive")
    try:
        yield from _check_files(sandbox, promise.files)
    except SandboxException as error:
        yield f"{promise.sandbox_id}: does not work: {error!r}"


def _connect(sandbox_id: str) -> Sandbox:
    """Return a sandbox that runs commands; raises NotFoundException for one that is gone.

    Right after the engine has taken a container along, the server may not know it yet: a second call tells.
    """
    for attempt in range(TRIES):
        sandbox = Sandbox.connect(sandbox_id, timeout=600, request_timeout=LOG_S)
        try:
            assert sandbox.commands.run("echo ok", timeout=LOG_S).stdout == "ok\n"
        except (SandboxNotRunningException, SandboxUnreachableException):
            if attempt == TRIES - 1:
                raise
            time.sleep(1)
        else:
            break
    return sandbox


def _check_gone(server: LiveServer, ledger: Ledger, promise: Promise) -> Iterator[str]:
    """Only a kill that was asked for, or the death of its own container, ends a sandbox; and the log says which."""
    if promise.maybe_killed:
        return
    _, log = server.call("GET", f"/v2/sandboxes/{promise.sandbox_id}/logs")
    messages = [entry["message"] for entry in log["logs"]] if isinstance(log, dict) else []
    if not ledger.was_killed(promise):
        yield f"{promise.sandbox_id}: gone, although nobody killed it or its container ({messages})"
    if not any("is gone: " in message for message in messages):
        yield f"{promise.sandbox_id}: gone without a reason in its log ({messages})"


def _check_files(sandbox: Sandbox, files: dict[str, str]) -> Iterator[str]:
    for path, content in files.items():
        try:
            found = sandbox.files.read(path)
        except NotFoundException:
            found = "nothing"
        if found != content:
            yield f"{sandbox.sandbox_id}: {path} has {found!r}, although the write of {content!r} was answered"


def _check_snapshot(snapshot: str, files: dict[str, str]) -> Iterator[str]:
    try:
        with Sandbox.create(snapshot, timeout=60, request_timeout=LOG_S) as sandbox:
            yield from _check_files(sandbox, files)
    except SandboxException as error:
        yield f"snapshot {snapshot} makes no sandbox: {error}"


def check_leftovers(server: LiveServer, ledger: Ledger) -> list[str]:
    """Kill everything, start the server once more, and return what is left that belongs to nothing."""
    paginator = Sandbox.list()
    while paginator.has_next:
        for info in paginator.next_items():
            Sandbox.kill(info.sandbox_id)
    for snapshot in ledger.snapshots:
        Sandbox.delete_snapshot(snapshot)
    wait_until(lambda: ledger.count_rows() == 0, "rows of killed sandboxes are gone", 2 * SWEEP_S)
    server.kill()
    server.settings["SANDLOT_POOL_SIZE"] = "0"
    server.start()
    wait_until(lambda: not list_containers(server.installation, every=True), "no container is left", LOG_S)
    try:
        # One that a container needed still, when it was looked at, goes with the next sweep.
        wait_until(lambda: not _list_images(server.installation), "no image is left", SWEEP_S)
    except AssertionError:
        return [f"image {image}" for image in _list_images(server.installation)]
    return []


def _list_images(installation: str) -> list[str]:
    command = ["docker", "images", "--quiet", f"sandlot/build-{installation}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()


def check_removal(installation: str) -> list[str]:
    """Return what is left of an installation that was removed, processes of which the engine knows nothing included."""
    with closing(engine.connect()) as client:
        left = engine.find_leftovers(client, installation)
    return left + [f"process {found['holder']} of {found['container']}" for found in find(f"sandlot-{installation}-")]
