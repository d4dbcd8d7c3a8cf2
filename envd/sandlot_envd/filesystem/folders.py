"""Making folders that belong to a user, and walking them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from sandlot_envd.users import User

FOLDER_MODE = 0o755


def make_folders(path: str, user: User) -> None:
    """Make `path` and what is missing above it, owned by `user`. Raises OSError, before anything is made if it can."""
    for folder in reversed(_list_missing(path)):
        try:
            os.mkdir(folder, FOLDER_MODE)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise _not_a_folder(folder) from None
            continue
        # Not through a link that has taken the folder's place meanwhile.
        os.chown(folder, user.uid, user.gid, follow_symlinks=False)


def _list_missing(path: str) -> list[str]:
    """Return the folders that are to be made, the innermost first."""
    missing = []
    while True:
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            missing.append(path)
            path = os.path.dirname(path.rstrip("/")) or "/"
            continue
        if not stat.S_ISDIR(mode):
            raise _not_a_folder(path)
        return missing


def _not_a_folder(path: str) -> NotADirectoryError:
    return NotADirectoryError(errno.ENOTDIR, "Not a directory", path)


def walk(root: str, depth: int) -> Iterator[str]:
    """Yield the names of what is below the folder `root`, relative to it: folders before their content, in byte order.

    Folders behind links are named but not entered; what vanishes meanwhile is left out.
    Raises OSError only for `root` itself.
    """
    waiting = _scan(root, "")
    while waiting:
        name, is_folder = waiting.pop()
        yield name
        if is_folder and name.count("/") + 1 < depth:
            try:
                waiting += _scan(root, name)
            except OSError:
                continue


def _scan(root: str, folder: str) -> list[tuple[str, bool]]:
    """Return the names in a folder, last first, and whether each is a folder."""
    with os.scandir(os.path.join(root, folder)) as entries:
        found = [(os.path.join(folder, entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    return sorted(found, key=lambda one: os.fsencode(one[0]), reverse=True)
