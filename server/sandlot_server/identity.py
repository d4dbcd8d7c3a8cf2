"""What makes this installation itself: its id, its secret and its developer key, kept in files of mode 0600."""

from __future__ import annotations

import hmac
import os
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandlot_server.models import DEFAULT_TEAM

INSTALLATION_BYTES = 6
SECRET_BYTES = 32
KEY_PREFIX = "e2b_"
KEY_BYTES = 20
TEAM_NAMESPACE = uuid.UUID("0d4bdb5e-6d0f-4c3a-8f0e-5a2f1c9be7a4")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this installation is; every token of it derives from `secret`."""

    installation: str
    secret: str
    api_key: str
    admin_token: str
    """Opens what is about all teams: making them and their keys."""

    def find_team_id(self, team: str) -> str:
        """UUID of a team; the same for the installation's whole life."""
        own = self.installation if team == DEFAULT_TEAM else f"{self.installation}/{team}"
        return str(uuid.uuid5(TEAM_NAMESPACE, own))

    def digest_key(self, key: str) -> str:
        """What is kept of a key."""
        return self._derive(f"key:{key}")

    def accepts_admin(self, token: str) -> bool:
        """Whether `token` is the admin token; takes the same time for every wrong one."""
        return hmac.compare_digest(token.encode(), self.admin_token.encode())

    def envd_token(self, sandbox_id: str) -> str:
        """Access token of the sandbox's agent; the same for the sandbox's whole life."""
        return self._derive(f"envd:{sandbox_id}")

    def traffic_token(self, sandbox_id: str) -> str:
        """Token that requests to a sandbox without public traffic must carry."""
        return self._derive(f"traffic:{sandbox_id}")

    def control_token(self, container: str) -> str:
        """Token of the agent's control routes, known to the agent of this container alone."""
        return self._derive(f"control:{container}")

    def upload_token(self, template_id: str, files_hash: str, expires: object) -> str:
        """What lets a client upload the files of one build step until `expires` (Unix seconds)."""
        return self._derive(f"upload:{template_id}:{files_hash}:{expires}")

    def accepts_upload(self, token: str, template_id: str, files_hash: str, expires: str) -> bool:
        """Whether `token` is the one for this upload; says nothing of whether its time is over."""
        expected = self.upload_token(template_id, files_hash, expires)
        return expires.isascii() and expires.isdigit() and hmac.compare_digest(token.encode(), expected.encode())

    def accepts_key(self, key: str) -> bool:
        """Whether `key` is the developer key; takes the same time for every wrong one."""
        return hmac.compare_digest(key.encode(), self.api_key.encode())

    def _derive(self, what: str) -> str:
        return hmac.digest(bytes.fromhex(self.secret), what.encode(), "sha256").hex()


def load_identity(home: Path) -> Identity:
    """Return the identity kept in `home`, made there on first use."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Identity(
        installation=_keep(home / "installation", lambda: secrets.token_hex(INSTALLATION_BYTES)),
        secret=_keep(home / "secret", lambda: secrets.token_hex(SECRET_BYTES)),
        api_key=_keep(home / "key", lambda: KEY_PREFIX + secrets.token_hex(KEY_BYTES)),
        admin_token=_keep(home / "admin", lambda: secrets.token_hex(SECRET_BYTES)),
    )


def find_installation(home: Path) -> str | None:
    """Return the id of the installation in `home`, or None when it never ran."""
    try:
        return (home / "installation").read_text().strip() or None
    except FileNotFoundError:
        return None


def _keep(path: Path, make: Callable[[], str]) -> str:
    """Return the file's content; write it first where there is none, whole or not at all.

    One that lost its content counts as none: an empty secret would be everybody's.
    """
    if not path.exists() or not path.read_text().strip():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(make() + "\n")
        draft.rename(path)
    return path.read_text().strip()
