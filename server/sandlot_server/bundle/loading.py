"""Loading a bundle: into the engine, and into the templates of this installation."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sandlot_server import daemon
from sandlot_server.bundle import templates
from sandlot_server.bundle.archive import Bundle, open_bundle
from sandlot_server.bundle.engine import Engine, Volume
from sandlot_server.errors import BundleError
from sandlot_server.identity import load_identity
from sandlot_server.installation import make_runtime
from sandlot_server.models import Template
from sandlot_server.settings import Settings
from sandlot_server.store.sqlite import SqliteStore
from sandlot_server.templates import Catalogue

Say = Callable[[str], None]
CALL_S = 60


async def load(settings: Settings, path: Path, say: Say = lambda text: None) -> None:
    """Give the engine what a bundle holds, and take over its templates; a server that runs is told.

    Nothing is changed before the whole file was verified. Raises BundleError, EngineError.
    """
    say(f"verifying {path}")
    with open_bundle(path) as bundle:
        engine = Engine()
        try:
            _fill_engine(bundle, engine, say)
        finally:
            engine.close()
        found = [templates.decode(fields) for fields in bundle.manifest["templates"]]
    for template in found:
        say(f"template {template.alias or template.id}:{template.tag}")
    await _hand_over(settings, found)


def _fill_engine(bundle: Bundle, engine: Engine, say: Say) -> None:
    manifest = bundle.manifest
    if engine.architecture != manifest["architecture"]:
        raise BundleError(f"the bundle is for {manifest['architecture']}, this engine for {engine.architecture}")
    say(f"images {', '.join(manifest['images'])}")
    engine.load_images(bundle.read("images.tar"))
    volume = Volume(manifest["agent"]["name"], manifest["agent"]["labels"])
    if not engine.has_volume(volume.name):
        say(f"agent {volume.name}")
        engine.load_volume(volume, bundle.read("agent.tar"), manifest["base_image"])


async def _hand_over(settings: Settings, found: Sequence[Template]) -> None:
    """Through the server where one runs, else into its database."""
    if not found:
        return
    if daemon.find_pid(settings.home) is not None:
        _tell_server(settings, found)
        return
    identity = load_identity(settings.home)
    store = SqliteStore(settings.database)
    with daemon.hold_pid_file(settings.home):
        runtime = make_runtime(settings, identity.installation)
        await store.open()
        try:
            catalogue = Catalogue(store)
            await catalogue.load(settings)
            await templates.adopt(found, runtime=runtime, catalogue=catalogue)
        finally:
            await store.close()
            await runtime.close()


def _tell_server(settings: Settings, found: Sequence[Template]) -> None:
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=CALL_S)
    body = json.dumps([templates.encode(one) for one in found])
    try:
        connection.request("POST", "/_sandlot/templates", body, {"X-API-KEY": load_identity(settings.home).api_key})
        reply = connection.getresponse()
        answer: dict[str, Any] = json.loads(reply.read() or b"{}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BundleError(f"the server did not take the templates: {error}") from error
    finally:
        connection.close()
    if reply.status >= 300:
        raise BundleError(f"the server did not take the templates: {answer.get('message', reply.status)}")
