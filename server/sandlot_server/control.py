"""Calls of the command line to the server that runs: what is this installation's own and in no SDK."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from sandlot_server.daemon import DaemonError
from sandlot_server.settings import Settings

TIMEOUT_S = 10


def call(settings: Settings, method: str, path: str, body: object = None, **headers: str) -> Any:
    """Return what the server answers, None for nothing; raises DaemonError with its words when it refuses."""
    url = f"http://{settings.host}:{settings.port}"
    data = None if body is None else json.dumps(body).encode()
    own = {"X-API-KEY": read_secret(settings, "key"), "Content-Type": "application/json"}
    request = urllib.request.Request(url + path, data, {**own, **headers}, method=method)  # noqa: S310 - always http
    # No proxy of the environment: the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        raise DaemonError(_find_message(error.read()) or f"{url} answered {error.code}") from error
    except OSError as error:
        raise DaemonError(f"nothing answers on {url}: start it with `make up` or `sandlot serve`") from error
    return json.loads(text) if text else None


def read_secret(settings: Settings, name: str) -> str:
    """Return what a file of the home holds; raises DaemonError when no server has made it."""
    try:
        return (settings.home / name).read_text().strip()
    except FileNotFoundError as error:
        raise DaemonError(f"there is no {settings.home / name}: start the server first") from error
    except OSError as error:
        raise DaemonError(f"{settings.home / name} cannot be read: {error.strerror}") from error


def _find_message(text: bytes) -> str | None:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return None
