"""The server as a background process of one home directory: start, find, stop.

`<home>/server.pid` is locked by the server for as long as it lives, so that a stale pid is never believed
and two servers never share a home.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

START_S = 60
STOP_S = 60


class DaemonError(Exception):
    """The server could not be started or stopped; the message says what to do."""


@contextmanager
def hold_pid_file(home: Path) -> Iterator[None]:
    """Own the home for the life of this process; raises DaemonError when another server does."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.pid").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DaemonError(f"a server already runs on {home} (pid {find_pid(home)})") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)


def find_pid(home: Path) -> int | None:
    """Return the pid of the server that owns `home`, or None when none runs."""
    try:
        with (home / "server.pid").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        text = (home / "server.pid").read_text().strip()
        return int(text) if text.isdigit() else None


def answers(host: str, port: int) -> bool:
    """Whether something on this address answers `GET /health` as Sandlot does."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status in (200, 204)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def find_occupant(port: int) -> str | None:
    """Name the program that listens on TCP `port`, or return None when the port is free."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            return _describe(connection.pid)
    return None


def _describe(pid: int | None) -> str:
    if pid is None:
        return "a program of another user"
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.NoSuchProcess:
        return f"pid {pid}"


def start(home: Path, host: str, port: int) -> tuple[int, bool]:
    """Start `sandlot serve` in the background and wait until it answers.

    Returns its pid and whether it was started now (False: it already ran). Raises DaemonError when the port is
    taken by something else or the server dies or does not answer in time; the message ends with its log.
    """
    running = find_pid(home)
    if running is not None and answers(host, port):
        return running, False
    if running is None and (occupant := find_occupant(port)):
        raise DaemonError(f"port {port} is taken by {occupant}: stop it, or choose another with SANDLOT_PORT")
    process = _spawn(home)
    deadline = time.monotonic() + START_S
    while not answers(host, port):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise DaemonError(f"the server did not start; the end of {home / 'server.log'}:\n{read_log(home)}")
        time.sleep(0.05)
    return process.pid, True


def _spawn(home: Path) -> subprocess.Popen[bytes]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sandlot_server"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def read_log(home: Path, lines: int = 20) -> str:
    """Return the last `lines` of the background server's log."""
    try:
        return "\n".join((home / "server.log").read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


def stop(home: Path) -> bool:
    """Ask the server of `home` to end and wait for it; False when none ran.

    Raises DaemonError when it cannot be asked, or stays.
    """
    pid = find_pid(home)
    if pid is None:
        return False
    if pid == 1:
        raise DaemonError(
            "the server is the first program of this container, which ends with it: `docker compose stop` ends both, "
            "and `docker compose run --rm server down` removes what they leave"
        )
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while find_pid(home) is not None:
        if time.monotonic() > deadline:
            raise DaemonError(f"the server (pid {pid}) did not end within {STOP_S} s; its log is {home / 'server.log'}")
        time.sleep(0.05)
    return True
