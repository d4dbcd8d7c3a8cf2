"""What a container has changed, as an image layer.

Written by ourselves because the engine's own `commit` drops user xattrs (E2B's file metadata), cuts times to whole
seconds and forgets hard links between changed files. Uses the standard library alone and reads only: where the server
cannot see the engine's files, this very file runs in a container that can.
"""
# Names stay as the kernel gives them, which pathlib would tidy.
# ruff: noqa: PTH115, PTH118, PTH119, PTH120, PTH123

from __future__ import annotations

import errno
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
OPAQUE_XATTR = "trusted.overlay.opaque"
OVERLAY_XATTRS = "trusted.overlay."
UNREADABLE_XATTRS = ("trusted.overlay.redirect", "trusted.overlay.metacopy")
"""With these, what lies here is not the whole file or not its whole name."""
KEPT_XATTRS = ("user.", "security.capability", "system.posix_acl_")
SKIPPED = frozenset({"opt/sandlot"})
"""Where the agent is mounted: an empty folder that the engine makes."""
NO_XATTRS = (errno.ENOTSUP, errno.ENODATA, errno.EPERM)
NS_PER_S = 10**9


class UnfitLayer(Exception):
    """The files of the container are kept in a way that cannot be read from outside."""


def write_layer(root: str, out: BinaryIO) -> None:
    """Write the upper folder of an overlay as a layer; raises UnfitLayer, OSError."""
    with tarfile.open(
        fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        first_names: dict[tuple[int, int], str] = {}
        for name in walk(root):
            _add(archive, root, name, first_names)


def walk(root: str) -> Iterator[str]:
    """Yield every path below `root`, relative to it, folders before what they hold."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(root, folder)) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = os.path.join(folder, entry.name)
            if name in SKIPPED:
                continue
            yield name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(name)


def _add(archive: tarfile.TarFile, root: str, name: str, first_names: dict[tuple[int, int], str]) -> None:
    path = os.path.join(root, name)
    status = os.lstat(path)
    if stat.S_ISSOCK(status.st_mode):
        return
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        archive.addfile(_name_marker(os.path.dirname(name), WHITEOUT + os.path.basename(name)))
        return
    xattrs = read_xattrs(path)
    info = describe(name, status, xattrs)
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        _add_file(archive, path, info, status, first_names)
        return
    archive.addfile(info)
    if xattrs.get(OPAQUE_XATTR) == b"y":
        archive.addfile(_name_marker(name, OPAQUE))


def _add_file(
    archive: tarfile.TarFile,
    path: str,
    info: tarfile.TarInfo,
    status: os.stat_result,
    first_names: dict[tuple[int, int], str],
) -> None:
    """Add a regular file with its content, or as another name of one that is there already."""
    key = (status.st_dev, status.st_ino)
    if status.st_nlink > 1 and key in first_names:
        info.type, info.linkname, info.size = tarfile.LNKTYPE, first_names[key], 0
        archive.addfile(info)
        return
    first_names[key] = info.name
    info.size = status.st_size
    with open(path, "rb") as content:
        archive.addfile(info, content)


def describe(name: str, status: os.stat_result, xattrs: dict[str, bytes]) -> tarfile.TarInfo:
    """The header of an entry, with its times in nanoseconds and its xattrs."""
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid = status.st_uid, status.st_gid
    info.mtime = status.st_mtime_ns // NS_PER_S
    seconds, nanoseconds = divmod(status.st_mtime_ns, NS_PER_S)
    headers = {"mtime": f"{seconds}.{nanoseconds:09d}"}
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISFIFO(status.st_mode):
        info.type = tarfile.FIFOTYPE
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        info.type = tarfile.CHRTYPE if stat.S_ISCHR(status.st_mode) else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    for key, value in xattrs.items():
        if key.startswith(KEPT_XATTRS):
            headers[f"SCHILY.xattr.{key}"] = value.decode("utf-8", "surrogateescape")
    info.pax_headers = headers
    return info


def read_xattrs(path: str) -> dict[str, bytes]:
    """All xattrs of a file that can be read; raises UnfitLayer when the overlay keeps it elsewhere."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in NO_XATTRS:
            return {}
        raise
    if unfit := [name for name in names if name in UNREADABLE_XATTRS]:
        raise UnfitLayer(f"the engine keeps files in a way that cannot be copied ({unfit[0]})")
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _name_marker(folder: str, name: str) -> tarfile.TarInfo:
    """An empty file whose name says that something is gone."""
    info = tarfile.TarInfo(os.path.join(folder, name))
    info.mode = 0o600
    return info


if __name__ == "__main__":
    write_layer(sys.argv[1], sys.stdout.buffer)
