"""A whole Sandlot of the tests' own: a server process with a home, a port and an installation nobody else has."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SANDLOT = Path(sys.executable).parent / "sandlot"


def find_free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = 30) -> None:
    """Return once `condition` holds; raise AssertionError naming `what` after `deadline_s` seconds."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.02)


class LiveServer:
    """`sandlot serve` as a process of its own, which tests may kill and start again."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = find_free_port()
        self.tls_port = find_free_port()
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base URL of the front door."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """The developer key that the server made on its first start."""
        return (self.home / "key").read_text().strip()

    @property
    def environment(self) -> dict[str, str]:
        """Environment of a `sandlot` command that belongs to this server."""
        own = {"SANDLOT_HOME": str(self.home), "SANDLOT_PORT": str(self.port), "SANDLOT_TLS_PORT": str(self.tls_port)}
        # What points an SDK at another server must not win over the home.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("E2B_", "SANDLOT_"))}
        kept = {name: os.environ[name] for name in ("SANDLOT_AGENT_VOLUME", "SANDLOT_BASE_IMAGE") if name in os.environ}
        return {**inherited, **kept, **own, **self.settings}

    @property
    def sdk_environment(self) -> dict[str, str]:
        """What points an official SDK here."""
        return {"E2B_API_URL": self.url, "E2B_SANDBOX_URL": self.url, "E2B_API_KEY": self.key}

    @property
    def options(self) -> dict[str, str]:
        """The same as arguments of an official SDK's methods."""
        return {"api_url": self.url, "sandbox_url": self.url, "api_key": self.key}

    def read_domain_environment(self) -> dict[str, str]:
        """What a shell has after eval "$(sandlot env --domain)"."""
        script = f'eval "$({SANDLOT} env --domain)"; env'
        shown = subprocess.run(["bash", "-c", script], env=self.environment, capture_output=True, text=True, check=True)
        return dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)

    @property
    def installation(self) -> str:
        """The id that all containers, networks and firewall rules of this server carry."""
        return (self.home / "installation").read_text().strip()

    def start(self) -> None:
        """Start the process and return once it answers; its log is `<home>/test.log`."""
        with (self.home / "test.log").open("ab") as log:
            self.process = subprocess.Popen([SANDLOT, "serve"], env=self.environment, stdout=log, stderr=log)
        try:
            wait_until(self._is_healthy, "the server answers", 60)
        except BaseException:
            self.kill()
            raise

    def _is_healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the server died:\n{self.read_log()}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status in (200, 204)
        except OSError:
            return False
        finally:
            connection.close()

    def read_log(self) -> str:
        """The end of the server's log."""
        return (self.home / "test.log").read_text(errors="replace")[-4000:]

    def kill(self, how: int = signal.SIGKILL) -> None:
        """End the process alone; what it started stays as it is."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, object]:
        """One API request with the developer key; returns the status and the decoded body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            encoded = None if body is None else json.dumps(body)
            connection.request(method, path, encoded, {"X-API-KEY": self.key, **headers})
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None
        finally:
            connection.close()

    def remove(self) -> None:
        """End the server and everything that belongs to its installation."""
        self.kill(signal.SIGTERM)
        subprocess.run([SANDLOT, "down", "--all"], env=self.environment, check=True, timeout=120)
