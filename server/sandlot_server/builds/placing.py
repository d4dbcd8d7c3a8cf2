"""Puts the files of a COPY step where they belong. Runs inside the sandbox, by the agent's own Python, as root.

Standard library only: the source of this file is what is run. The rules are those of E2B's builder, which follow
Docker's COPY: a file is put under exactly the name asked for, or into it when it ends with a slash; the contents of a
folder are merged into the target, where links to folders are followed and links to files replaced.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tarfile
import tempfile

META = re.compile(r"[*?\[{\\]")


class PlacingError(Exception):
    """The files cannot be put there; the message says why."""


def place(archive: str, source: str, target: str, owner: str, mode: str, workdir: str | None, user: str) -> None:
    """Unpack `archive` and put `source` of it at `target`, owned by `owner` (user:group), with `mode` (octal) if any.

    A relative target is meant from `workdir`, or from the home of `user`. Raises PlacingError, OSError.
    """
    uid, gid = find_owner(owner)
    base = workdir or find_home(user)
    with tempfile.TemporaryDirectory(prefix="copy-") as private:
        # What is copied whole keeps the mode of this folder.
        folder = os.path.join(private, "files")
        os.mkdir(folder, 0o755)
        unpack(archive, folder)
        entry = os.path.normpath(os.path.join(folder, cut_pattern(source)))
        if not os.path.lexists(entry):
            raise PlacingError(f"source path does not exist: {source}")
        adopt(entry, uid, gid, parse_mode(mode))
        wanted = os.path.join(base, target)
        if os.path.isdir(entry) and not os.path.islink(entry):
            merge(entry, wanted)
        else:
            put(entry, os.path.join(wanted, os.path.basename(entry)) if target.endswith("/") else wanted)


def cut_pattern(source: str) -> str:
    """The folder that a pattern begins in, or the path itself when it is no pattern; from the archive's root."""
    found = META.search(source)
    plain = source if found is None else source[: found.start()].rpartition("/")[0]
    return os.path.normpath(plain.lstrip("/") or ".")


def unpack(archive: str, folder: str) -> None:
    """Extract an archive, compressed or not; raises PlacingError for names that lead out of it."""
    try:
        with tarfile.open(archive, "r:*") as content:
            for member in content:
                name = os.path.normpath(member.name)
                if name.startswith(("/", "..")):
                    raise PlacingError(f"the archive names a file outside of itself: {member.name}")
                content.extract(member, folder, numeric_owner=True)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise PlacingError(f"failed to extract files: {error}") from error


def parse_mode(text: str) -> int | None:
    """An octal mode, or None for none."""
    if not text:
        return None
    if not re.fullmatch(r"[0-7]{1,5}", text):
        raise PlacingError(f"mode '{text}' is not octal")
    return int(text, 8)


def adopt(entry: str, uid: int, gid: int, mode: int | None) -> None:
    """Give an entry, and all that it holds, owner and mode; links have no mode of their own."""
    inside = (os.path.join(root, name) for root, folders, files in os.walk(entry) for name in folders + files)
    for path in (entry, *inside) if os.path.isdir(entry) and not os.path.islink(entry) else (entry,):
        os.chown(path, uid, gid, follow_symlinks=False)
        if mode is not None and not os.path.islink(path):
            os.chmod(path, mode)


def merge(source: str, target: str) -> None:
    """Move what a folder holds into another; what is there already stays unless it has the same name."""
    if not os.path.lexists(target.rstrip("/")):
        os.makedirs(os.path.dirname(target.rstrip("/")), exist_ok=True)
        shutil.move(source, target.rstrip("/"))
        return
    for name in os.listdir(source):
        path, wanted = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(path) and not os.path.islink(path) and os.path.lexists(wanted):
            merge(path, wanted)
        else:
            put(path, wanted)


def put(path: str, wanted: str) -> None:
    """Move one entry to its place; a link that is there is replaced, not followed."""
    os.makedirs(os.path.dirname(wanted), exist_ok=True)
    if os.path.isdir(wanted) and not os.path.islink(wanted):
        wanted = os.path.join(wanted, os.path.basename(path))
    if os.path.lexists(wanted) and not os.path.isdir(wanted):
        os.unlink(wanted)
    shutil.move(path, wanted)


def find_owner(owner: str) -> tuple[int, int]:
    """Numbers for `user:group`, either of which may be a number already."""
    user, _, group = owner.partition(":")
    return find_number("/etc/passwd", user, "user"), find_number("/etc/group", group or user, "group")


def find_number(file: str, name: str, what: str) -> int:
    """The number of a user or a group; root is known without any file."""
    if name.isdigit():
        return int(name)
    for fields in read_table(file):
        if fields[0] == name and len(fields) > 2:
            return int(fields[2])
    if name == "root":
        return 0
    raise PlacingError(f"invalid {what}: '{name}'")


def find_home(user: str) -> str:
    """The home of a user, or the root folder."""
    return next((fields[5] for fields in read_table("/etc/passwd") if fields[0] == user and len(fields) > 5), "/")


def read_table(file: str) -> list[list[str]]:
    """The lines of a file like /etc/passwd, cut into fields."""
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as lines:
            return [line.rstrip("\n").split(":") for line in lines]
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    try:
        place(**json.loads(sys.argv[1]))
    except (PlacingError, OSError) as problem:
        sys.exit(f"{problem}")
