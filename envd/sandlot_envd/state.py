"""What the agent knows of its sandbox, as the control plane told it through /init."""

from __future__ import annotations

import os

from sandlot_envd.clock import Clock
from sandlot_envd.errors import Unauthenticated
from sandlot_envd.log import Log
from sandlot_envd.threads import Threads
from sandlot_envd.users import User, find_user

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class AgentState:
    """Mutable state of one agent; every service holds the same one."""

    def __init__(self, control_token: str | None, log: Log) -> None:
        self.control_token = control_token
        self.log = log
        self.clock = Clock()
        self.threads = Threads()
        self.sandbox_id: str | None = None
        self.access_token: str | None = None
        self.default_user = "root"
        self.default_workdir: str | None = None
        self.image_env: dict[str, str] = {}
        self.user_env: dict[str, str] = {}
        self.internal_env: dict[str, str] = {}
        self.boot_id: str | None = None
        self.initialised_at: int | None = None

    @property
    def default_env(self) -> dict[str, str]:
        """What every process gets; the sandbox's own variables cannot be overridden here."""
        return {**self.image_env, **self.user_env, **self.internal_env}

    @property
    def path(self) -> str:
        """The PATH of processes that are given none."""
        return self.image_env.get("PATH") or os.environ.get("PATH") or DEFAULT_PATH

    def find_user(self, name: str | None) -> User:
        """Return the user called `name`, or the default user; raises Unauthenticated for an unknown one."""
        return find_user(name) if name else self.find_default_user()

    def find_default_user(self) -> User:
        """Return the user of calls that name none; raises Unauthenticated when the image has no such user."""
        try:
            return find_user(self.default_user)
        except Unauthenticated as error:
            raise Unauthenticated(f"invalid default user: '{self.default_user}'") from error
