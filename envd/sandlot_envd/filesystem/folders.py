"""Making folders that belong to a user, and walking them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from sandlot_envd.errors import Internal
from sandlot_envd.users import User

FOLDER_MODE = 0o755


def make_folders(path: str, user: User) -> None:
    """Make `path` and what is missing above it, owned by `user`. Raises OSError."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path.rstrip("/"))
    for folder in reversed(missing):
        try:
            os.mkdir(folder, FOLDER_MODE)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise NotADirectoryError(20, "not a directory", folder) from None
            continue
        os.chown(folder, user.uid, user.gid)


def walk(root: str, depth: int) -> Iterator[str]:
    """Yield what is below the folder `root`, each folder before what is in it, names in byte order.

    Folders behind links are named but not entered; what vanishes meanwhile is left out.
    Raises OSError only for `root` itself.
    """
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = os.path.join(root, name)
        yield path
        if depth > 1 and _is_real_folder(path):
            try:
                yield from walk(path, depth - 1)
            except OSError:
                continue


def _is_real_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def remove_tree(path: str) -> None:
    """Remove a file, a link or a whole folder; what is not there is removed already. Raises OSError."""
    import shutil

    try:
        if _is_real_folder(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        return


def refuse_root(path: str) -> None:
    """Raise Internal for the one folder that nothing can take away."""
    if os.path.normpath(path) == "/":
        raise Internal("the root folder cannot be removed")
