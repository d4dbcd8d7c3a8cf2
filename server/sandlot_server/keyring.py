"""`sandlot keys` and `sandlot teams`: who else may use the server that runs here."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from sandlot_server import control
from sandlot_server.models import DEFAULT_TEAM
from sandlot_server.settings import Settings
from sandlot_server.telling import fail, telling_errors

keys = typer.Typer(name="keys", help="API keys besides the developer key, each with a name.", no_args_is_help=True)
teams = typer.Typer(name="teams", help="Teams: nothing of one is seen by another.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What the key is called; names need not differ.")]
TeamName = Annotated[str, typer.Argument(help="Also the namespace of the team's templates.")]
Team = Annotated[str, typer.Option("--team", help="Whose keys.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one document.")]
KeyId = Annotated[str, typer.Argument(help="Id of the key, or its name where only one has it.")]


@teams.command("add")
def add_team(name: TeamName) -> None:
    """Make a team; it needs a key next."""
    _call("POST", "/_sandlot/teams", {"name": name})
    typer.echo(f"made team {name}: `sandlot keys add NAME --team {name}` makes a key of it", err=True)


@teams.command("list")
def list_teams(as_json: AsJson = False) -> None:
    """Show all teams."""
    # Without the default team's key: `sandlot env` is what prints it.
    found = [{name: team[name] for name in ("teamID", "name", "isDefault")} for team in _call("GET", "/teams")]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for team in found:
        typer.echo(f"{team['teamID']}  {team['name']}{'  (default)' if team['isDefault'] else ''}")


@keys.command("add")
def add_key(name: Name, team: Team = DEFAULT_TEAM) -> None:
    """Make a key and print it: nobody can show it again."""
    typer.echo(_call_for(team, "POST", "/api-keys", {"name": name})["key"])


@keys.command("list")
def list_keys(team: Team = DEFAULT_TEAM, as_json: AsJson = False) -> None:
    """Show the keys of a team, without what is secret of them."""
    found = _call_for(team, "GET", "/api-keys")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for key in found:
        mask = key["mask"]
        shown = f"{mask['prefix']}{mask['maskedValuePrefix']}…{mask['maskedValueSuffix']}"
        typer.echo(f"{key['id']}  {shown}  {key['name']}  last used: {key['lastUsed'] or 'never'}")


@keys.command("revoke")
def revoke_key(key: KeyId, team: Team = DEFAULT_TEAM) -> None:
    """Let a key open nothing from now on; sandboxes of its team go on."""
    found = [one for one in _call_for(team, "GET", "/api-keys") if key in (one["id"], one["name"])]
    if len(found) != 1:
        fail(f"team {team} has {len(found)} keys that are called {key}: `sandlot keys list` shows ids")
    _call_for(team, "DELETE", f"/api-keys/{found[0]['id']}")
    typer.echo(f"revoked {found[0]['id']} ({found[0]['name']})", err=True)


def _call_for(team: str, method: str, path: str, body: object = None) -> Any:
    found = [one["teamID"] for one in _call("GET", "/teams") if one["name"] == team]
    if not found:
        fail(f"there is no team {team}: `sandlot teams add {team}` makes it")
    return _call(method, path, body, **{"X-Team-ID": found[0]})


def _call(method: str, path: str, body: object = None, **headers: str) -> Any:
    settings = Settings()
    with telling_errors():
        admin = control.read_secret(settings, "admin")
        return control.call(settings, method, path, body, **{"X-Admin-Token": admin}, **headers)
