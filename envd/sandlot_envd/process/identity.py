"""Being somebody else for the length of one fork.

A child that changes its own user must be made by a full fork, which copies the agent's page tables. When the agent
itself takes on the user's identity, keeping root as its saved one, the child can be a vfork that does nothing but
exec: the kernel then makes the saved identity the same as the effective one. Half a millisecond instead of one and a
half for each command; tests/bench/agent_footprint.py measures it. All threads change together, so none may be at work.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from sandlot_envd.users import User


@contextlib.contextmanager
def assumed(user: User) -> Iterator[None]:
    """Act as `user`, with root as the saved identity to come back to. Raises OSError where that is not allowed."""
    own_groups = os.getgroups()
    try:
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, 0)
        os.setresuid(user.uid, user.uid, 0)
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(own_groups)
