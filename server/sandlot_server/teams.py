"""Teams and their keys: who may ask for what. Everything that is made here belongs to one team."""

from __future__ import annotations

import hmac
import secrets
import uuid
from dataclasses import replace

from sandlot_server.errors import Conflict, InvalidRequest, NotFound
from sandlot_server.identity import KEY_BYTES, KEY_PREFIX, Identity
from sandlot_server.models import DEFAULT_TEAM, ApiKey, Team, now
from sandlot_server.names import parse_team
from sandlot_server.store.base import Store

MAX_NAME = 128


class Teams:
    """All teams and keys, in memory and in the store. The developer key is the default team's and stands apart."""

    def __init__(self, store: Store, identity: Identity) -> None:
        self._store = store
        self._identity = identity
        self._teams: dict[str, Team] = {}
        self._keys: dict[str, ApiKey] = {}
        self._unsaved: set[str] = set()

    async def load(self) -> None:
        """Read the store; the default team is there from the first start on."""
        self._teams = {team.name: team for team in await self._store.load_teams()}
        self._keys = {key.digest: key for key in await self._store.load_keys()}
        if DEFAULT_TEAM not in self._teams:
            await self._add(DEFAULT_TEAM)

    def list_teams(self) -> list[Team]:
        """Return all teams, the default one first."""
        return sorted(self._teams.values(), key=lambda team: (team.name != DEFAULT_TEAM, team.created_at, team.name))

    def find_by_id(self, team_id: str) -> Team | None:
        """Return the team that the API knows under this id."""
        return next((team for team in self._teams.values() if self._identity.find_team_id(team.name) == team_id), None)

    async def add_team(self, text: str) -> Team:
        """Make a team; its name is also the namespace of its templates. Raises InvalidRequest, Conflict."""
        name = parse_team(text)
        if name in self._teams:
            raise Conflict(f"team '{name}' exists already")
        return await self._add(name)

    async def _add(self, name: str) -> Team:
        team = Team(name, now())
        await self._store.save_team(team)
        self._teams[name] = team
        return team

    def authenticate(self, key: str) -> str | None:
        """Return the name of the team that a key is of, None when it is of none."""
        if self._identity.accepts_key(key):
            return DEFAULT_TEAM
        # What is looked up is a digest under this installation's secret: how long it takes tells nothing of any key.
        digest = self._identity.digest_key(key)
        known = self._keys.get(digest)
        if known is None or not hmac.compare_digest(known.digest, digest):
            return None
        self._keys[digest] = replace(known, last_used=now())
        self._unsaved.add(digest)
        return known.team

    def list_keys(self, team: str) -> list[ApiKey]:
        """Return the keys of a team, oldest first; the developer key is not among them."""
        return sorted(
            (key for key in self._keys.values() if key.team == team), key=lambda key: (key.created_at, key.id)
        )

    async def add_key(self, team: str, name: str) -> tuple[ApiKey, str]:
        """Make a key; returns it and its value, which nobody can read again. Raises InvalidRequest (name)."""
        value = secrets.token_hex(KEY_BYTES)
        key = ApiKey(
            id=str(uuid.uuid4()),
            team=team,
            name=_check_name(name),
            digest=self._identity.digest_key(KEY_PREFIX + value),
            masked=(value[:2], value[-4:]),
            created_at=now(),
        )
        await self._save(key)
        return key, KEY_PREFIX + value

    async def rename_key(self, team: str, key_id: str, name: str) -> None:
        """Give a key another name; raises NotFound, InvalidRequest."""
        await self._save(replace(self._require(team, key_id), name=_check_name(name)))

    async def revoke_key(self, team: str, key_id: str) -> None:
        """Let a key open nothing from now on; raises NotFound."""
        key = self._require(team, key_id)
        del self._keys[key.digest]
        self._unsaved.discard(key.digest)
        await self._store.delete_key(key.id)

    async def save_uses(self) -> None:
        """Have the store know when keys were last used."""
        unsaved, self._unsaved = self._unsaved, set()
        for key in [self._keys[digest] for digest in unsaved]:
            if key.digest in self._keys:  # it may have been revoked meanwhile
                await self._store.save_key(self._keys[key.digest])

    async def _save(self, key: ApiKey) -> None:
        await self._store.save_key(key)
        self._keys[key.digest] = key

    def _require(self, team: str, key_id: str) -> ApiKey:
        key = next((key for key in self._keys.values() if key.id == key_id and key.team == team), None)
        if key is None:
            raise NotFound("id not found")
        return key


def _check_name(name: str) -> str:
    if not 1 <= len(name.strip()) <= MAX_NAME:
        raise InvalidRequest(f"a key's name must have 1 to {MAX_NAME} characters")
    return name.strip()
