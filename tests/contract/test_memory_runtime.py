"""`SANDLOT_RUNTIME=memory sandlot serve`, the server without an engine, for trying the server itself."""

from __future__ import annotations

from pathlib import Path

from support.live import LiveServer


def test_it_serves_without_an_engine(tmp_path: Path) -> None:
    live = LiveServer(tmp_path, SANDLOT_RUNTIME="memory", DOCKER_HOST="unix:///no/such.sock")
    live.start()
    try:
        status, body = live.call(
            "POST", "/v2/sandboxes", {"templateID": "base"}, **{"Content-Type": "application/json"}
        )
        assert status == 201
        assert isinstance(body, dict)
        assert live.call("DELETE", f"/sandboxes/{body['sandboxID']}") == (204, None)
    finally:
        live.kill()
