"""Fixtures for pytest: a sandbox for each test, on a server that is started when none runs.

    def test_it(sandbox):
        assert sandbox.commands.run("echo hi").stdout == "hi\\n"

Options: `--sandlot-template` (else the ini value `sandlot_template`, else `base`) and `--sandlot-scope`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from sandlot import AsyncSandbox, Sandbox, SandboxQuery
from sandlot.config import ConnectionConfig
from sandlot.discovery import find_local_server

T = TypeVar("T")

START_S = 60
STOP_S = 120
MARK = "pytest"
"""Metadata of sandboxes that belong to a test run: the run's own id."""
CHOSEN = ("E2B_API_URL", "E2B_DOMAIN", "E2B_DEBUG")
"""With one of these the person has said which server it is to be."""
SCOPES = ("function", "class", "module", "package", "session")


class SandlotServer(NamedTuple):
    """The server that tests run against."""

    url: str
    api_key: str
    run_id: str
    is_own: bool
    """Started for this run, and removed with everything at its end."""

    @property
    def metadata(self) -> dict[str, str]:
        """For `Sandbox.create(metadata=…)`: what is still there at the end of the run counts as left behind."""
        return {MARK: self.run_id}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("sandlot")
    group.addoption("--sandlot-template", metavar="NAME", help="template of the fixtures' sandboxes")
    group.addoption(
        "--sandlot-scope", choices=SCOPES, default="function", help="how long a fixture's sandbox lives (function)"
    )
    parser.addini("sandlot_template", "template of the fixtures' sandboxes", default="base")


def _find_scope(fixture_name: str, config: pytest.Config) -> Any:
    return config.getoption("--sandlot-scope")


def _find_template(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--sandlot-template") or request.config.getini("sandlot_template"))


@pytest.fixture(scope="session")
def sandlot_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandlotServer]:
    """The server of this machine or of the environment; started here where none runs.

    The environment names it while tests run, for our client and for the official SDKs. Sandboxes that tests leave
    behind fail the run: all of them on a server of its own, else those with the server's `metadata`.
    """
    running = _find_server()
    if running is not None:
        yield running
        _check_leaks(running)
        return
    home = tmp_path_factory.mktemp("sandlot")
    process = _start(home)
    try:
        own = _introduce(home)
        yield own
        _check_leaks(own)
    finally:
        _stop(process, home)


@pytest.fixture(scope=_find_scope)
def sandbox(request: pytest.FixtureRequest, sandlot_server: SandlotServer) -> Iterator[Sandbox]:
    """A sandbox that ends with the test, or with the scope that was asked for."""
    made = Sandbox.create(_find_template(request), metadata=sandlot_server.metadata)
    yield made
    made.kill()


@pytest.fixture(scope=_find_scope)
def async_sandbox(request: pytest.FixtureRequest, sandlot_server: SandlotServer) -> Iterator[AsyncSandbox]:
    """The same for asynchronous tests, whichever plugin runs them: the client's connections belong to no event loop."""
    made = _run(AsyncSandbox.create(_find_template(request), metadata=sandlot_server.metadata))
    yield made
    _run(made.kill())


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own, leaving alone the one that this thread may have."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _find_server() -> SandlotServer | None:
    config = ConnectionConfig()
    chosen = any(os.environ.get(name) for name in CHOSEN)
    if not chosen and not _answers(find_local_server().url):
        return None
    return SandlotServer(config.api_url, config.api_key or "", _new_run_id(), is_own=False)


def _new_run_id() -> str:
    return uuid.uuid4().hex[:12]


def _answers(url: str) -> bool:
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    connection = HTTPConnection(urlsplit(url).netloc, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status < 300
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _start(home: Path) -> subprocess.Popen[bytes]:
    if importlib.util.find_spec("sandlot_server") is None:
        pytest.fail("no Sandlot runs on this machine, and the server is not installed: pip install 'sandlot[server]'")
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandlot.cli", "serve"], env=_environment(home), stdout=log, stderr=log
        )
    deadline = time.monotonic() + START_S
    while not ((home / "url").exists() and _answers((home / "url").read_text().strip())):
        if process.poll() is not None or time.monotonic() > deadline:
            _stop(process, home)
            pytest.fail(f"the Sandlot server did not start:\n{(home / 'server.log').read_text()[-2000:]}")
        time.sleep(0.05)
    return process


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "SANDLOT_HOME": str(home), "SANDLOT_PORT": "0", "SANDLOT_TLS_PORT": "-1"}


def _introduce(home: Path) -> SandlotServer:
    """Have the environment name a server of our own; it goes with the process, as the server does."""
    url, key = ((home / name).read_text().strip() for name in ("url", "key"))
    os.environ.update(SANDLOT_HOME=str(home), E2B_API_URL=url, E2B_SANDBOX_URL=url, E2B_API_KEY=key)
    return SandlotServer(url, key, _new_run_id(), is_own=True)


def _stop(process: subprocess.Popen[bytes], home: Path) -> None:
    process.terminate()
    process.wait(STOP_S)
    subprocess.run(
        [sys.executable, "-m", "sandlot.cli", "down", "--all"],
        env=_environment(home),
        capture_output=True,
        timeout=STOP_S,
        check=True,
    )


def _check_leaks(server: SandlotServer) -> None:
    query = SandboxQuery() if server.is_own else SandboxQuery(metadata=server.metadata)
    paginator, left = Sandbox.list(query=query), []
    while paginator.has_next:
        left += [info.sandbox_id for info in paginator.next_items()]
    for sandbox_id in left:
        Sandbox.kill(sandbox_id)
    if left:
        pytest.fail(f"tests have left sandboxes behind (removed now): {', '.join(left)}", pytrace=False)
