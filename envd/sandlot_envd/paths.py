"""How the agent reads a path that a client gives. One rule for files, folders and working directories."""

from __future__ import annotations

import os

from sandlot_envd.errors import BadRequest
from sandlot_envd.users import User


def resolve(path: str, user: User, default: str | None = None) -> str:
    """Return the absolute path that `path` means for `user`.

    Empty is the `default` folder or the user's home; `~` and `~/…` are the home; absolute paths stay as they are,
    uncleaned; relative ones are below the home. Raises BadRequest for `~other` and for what no path can hold.
    """
    if "\0" in path:
        raise BadRequest("a path cannot contain a NUL character")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise BadRequest("a path cannot contain half of a surrogate pair") from error
    if not path:
        return default or user.home
    if path.startswith("~"):
        return _expand(path, user)
    if path.startswith("/"):
        return path
    return os.path.normpath(os.path.join(user.home, path))


def _expand(path: str, user: User) -> str:
    if path != "~" and not path.startswith("~/"):
        raise BadRequest(f"cannot expand '{path}': only the own home is known as ~")
    return os.path.normpath(user.home + path[1:])
