"""Who holds what belongs to one sandbox, or to one team, gets nothing of another; with the defence off, they would."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from e2b import Sandbox

from support.live import LiveServer, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(200)]

PORT = 8000
READ = "/files?path=/home/user/secret&username=user"


@dataclass
class Scene:
    """Two sandboxes of ours, one of them guarded in every way and one in none, and an attacker of another team."""

    server: LiveServer
    guarded: Sandbox
    opened: Sandbox
    attackers: Sandbox
    attackers_key: str

    def ask(self, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask_port(self, sandbox: Sandbox, headers: dict[str, str]) -> tuple[int, bytes]:
        """By host name, as a browser would."""
        return self.ask("/secret", {"Host": f"{PORT}-{sandbox.sandbox_id}.e2b.localhost", **headers})

    def read_file(self, sandbox: Sandbox, headers: dict[str, str]) -> tuple[int, bytes]:
        """Through the agent, named by headers."""
        address = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983"}
        return self.ask(READ, {**address, **headers})


def make_key(server: LiveServer, team: str) -> str:
    admin = {"X-Admin-Token": (server.home / "admin").read_text().strip(), "Content-Type": "application/json"}
    status, made = server.call("POST", "/_sandlot/teams", {"name": team}, **admin)
    assert (status, isinstance(made, dict)) == (201, True)
    status, key = server.call("POST", "/api-keys", {"name": "ci"}, **admin, **{"X-Team-ID": made["teamID"]})
    assert status == 201
    value: str = key["key"]
    return value


def open_to_all(server: LiveServer) -> Sandbox:
    """A sandbox whose agent wants no token, as only the first version of the API makes them."""
    status, made = server.call(
        "POST", "/sandboxes", {"templateID": "base", "timeout": 150}, **{"Content-Type": "application/json"}
    )
    assert status == 201
    return Sandbox.connect(made["sandboxID"], **server.options)


@pytest.fixture(scope="module")
def scene(server: LiveServer) -> Iterator[Scene]:
    key = make_key(server, "acme")
    guarded = Sandbox.create(timeout=150, network={"allow_public_traffic": False}, **server.options)
    made = Scene(
        server,
        guarded,
        open_to_all(server),
        Sandbox.create(timeout=150, network={"allow_public_traffic": False}, **{**server.options, "api_key": key}),
        key,
    )
    for sandbox in (made.guarded, made.opened):
        sandbox.files.write("secret", "ours")
        sandbox.commands.run(f"python3 -m http.server {PORT} --bind 127.0.0.1", background=True)
        token = {"E2B-Traffic-Access-Token": sandbox.traffic_access_token or ""}
        wait_until(lambda sandbox=sandbox, token=token: made.ask_port(sandbox, token)[0] == 200, "the service answers")
    yield made
    for sandbox in (made.guarded, made.opened, made.attackers):
        sandbox.kill()


def test_an_access_token_of_another_sandbox(scene: Scene) -> None:
    own = scene.attackers._envd_access_token
    assert own
    for token in ({}, {"X-Access-Token": own}):
        status, body = scene.read_file(scene.guarded, token)
        assert (status, b"ours" in body) == (401, False)
        assert scene.read_file(scene.opened, token) == (200, b"ours")
    assert scene.read_file(scene.guarded, {"X-Access-Token": scene.guarded._envd_access_token or ""}) == (200, b"ours")


def test_a_traffic_token_of_another_sandbox(scene: Scene) -> None:
    own = scene.attackers.traffic_access_token
    assert own
    for token in ({}, {"E2B-Traffic-Access-Token": own}):
        status, body = scene.ask_port(scene.guarded, token)
        assert (status, b"ours" in body) == (403, False)
        assert scene.ask_port(scene.opened, token) == (200, b"ours")


def test_a_traffic_token_opens_no_agent_and_an_access_token_no_port(scene: Scene) -> None:
    access, traffic = scene.guarded._envd_access_token or "", scene.guarded.traffic_access_token or ""
    assert scene.read_file(scene.guarded, {"X-Access-Token": traffic, "E2B-Traffic-Access-Token": traffic})[0] == 401
    assert scene.ask_port(scene.guarded, {"X-Access-Token": access, "E2B-Traffic-Access-Token": access})[0] == 403


def test_a_host_header_that_names_another_teams_sandbox(scene: Scene) -> None:
    """A key says nothing there: the sandbox's own tokens decide."""
    key = {"X-API-KEY": scene.attackers_key}
    agent = {"Host": f"49983-{scene.guarded.sandbox_id}.e2b.localhost", **key}
    assert scene.ask(READ, agent)[0] == 401
    assert scene.ask_port(scene.guarded, key)[0] == 403
    without = {"Host": f"49983-{scene.opened.sandbox_id}.e2b.localhost", **key}
    assert scene.ask(READ, without) == (200, b"ours")
    assert scene.ask_port(scene.opened, key) == (200, b"ours")


def test_a_key_of_another_team_on_the_api(scene: Scene) -> None:
    for path in (f"/sandboxes/{scene.guarded.sandbox_id}", f"/sandboxes/{scene.guarded.sandbox_id}/logs"):
        assert scene.ask(path, {"X-API-KEY": scene.attackers_key})[0] == 404
        # Of older clients, whose calls of the API bear the headers that lead to a sandbox.
        address = {"E2b-Sandbox-Id": scene.attackers.sandbox_id, "E2b-Sandbox-Port": "49983"}
        assert scene.ask(path, {"X-API-KEY": scene.attackers_key, **address})[0] == 404
        assert scene.ask(path, {"X-API-KEY": scene.server.key})[0] == 200


def test_a_signature_of_another_sandbox(scene: Scene) -> None:
    theirs = scene.attackers.download_url("secret").partition("?")[2]
    named = {"Host": f"49983-{scene.guarded.sandbox_id}.e2b.localhost"}
    assert scene.ask(f"/files?{theirs}", named)[0] == 401
    ours = scene.guarded.download_url("secret").partition("?")[2]
    assert scene.ask(f"/files?{ours}", named) == (200, b"ours")
