"""`sandlot sync`: a folder here is kept equal in a sandbox, as changes happen."""

from __future__ import annotations

import os
import threading
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from sandlot import Sandbox, WriteEntry
from sandlot.exceptions import NotFoundException

BATCH = 200
"""Files of one upload request."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sync)


def sync(
    folder: Annotated[Path, typer.Argument(help="Folder here.")],
    sandbox: Annotated[str, typer.Argument(metavar="SANDBOX[:PATH]", help="Where; without a path in the home.")],
    once: Annotated[bool, typer.Option(help="Copy what is there now, and end.")] = False,
) -> None:
    """Push a folder into a sandbox, then every change as it happens, until Ctrl-C."""
    if not folder.is_dir():
        raise NotFoundException(f"there is no folder {folder} here")
    sandbox_id, _, path = sandbox.partition(":")
    mirror = Mirror(folder.resolve(), Sandbox.connect(sandbox_id), PurePosixPath(path or folder.resolve().name))
    if once:
        typer.echo(f"{mirror.push_all()} files copied", err=True)
        return
    # The watch is armed before the first copy: what changes meanwhile is pushed after it.
    _follow(mirror)


def _follow(mirror: Mirror) -> None:
    from watchfiles import watch

    stop = threading.Event()
    changes = watch(mirror.folder, stop_event=stop, yield_on_timeout=True, rust_timeout=100, debounce=200, step=20)
    next(changes)
    typer.echo(f"{mirror.push_all()} files copied; pushing changes until Ctrl-C", err=True)
    try:
        for batch in changes:
            mirror.push({Path(path) for _, path in batch})
    except KeyboardInterrupt:
        stop.set()


class Mirror:
    """One folder here and its image in a sandbox."""

    def __init__(self, folder: Path, sandbox: Sandbox, target: PurePosixPath) -> None:
        self.folder = folder
        self._sandbox = sandbox
        self._target = target
        # What was a file may be a folder next, and the other way round; one has to go before the other comes.
        self._files: set[Path] = set()
        self._folders: set[Path] = set()

    def push_all(self) -> int:
        """Copy everything that is there; returns how many files."""
        return self.push({self.folder})

    def push(self, paths: set[Path]) -> int:
        """Make what these paths are in the sandbox what they are here; returns how many files were written."""
        gone = {path for path in paths if not path.exists()}
        # Below a folder that is gone everything is; one removal says it all.
        self._remove({path for path in gone if not gone & set(path.parents)})
        # A folder that was moved in comes as one change; what is in it was never announced.
        folders, files = _collect(paths - gone)
        self._remove((folders & self._files) | (files & self._folders))
        for folder in sorted(folders):
            self._sandbox.files.make_dir(self._name(folder))
        self._folders |= folders
        self._files |= files
        return self._write(sorted(files))

    def _remove(self, paths: set[Path]) -> None:
        for path in sorted(paths):
            self._sandbox.files.remove(self._name(path))
        if paths:
            for known in (self._files, self._folders):
                known.difference_update([one for one in known if one in paths or paths & set(one.parents)])

    def _write(self, files: list[Path]) -> int:
        for start in range(0, len(files), BATCH):
            entries = []
            for path in files[start : start + BATCH]:
                try:
                    entries.append(WriteEntry(path=self._name(path), data=path.read_bytes()))
                except FileNotFoundError:
                    continue  # its own removal is the next change
            if entries:
                self._sandbox.files.write_files(entries)
        return len(files)

    def _name(self, path: Path) -> str:
        return str(self._target / path.relative_to(self.folder).as_posix())


def _collect(paths: set[Path]) -> tuple[set[Path], set[Path]]:
    """The folders and files among these paths and below them. What goes meanwhile is the next change."""
    folders = {path for path in paths if path.is_dir()}
    files = {path for path in paths if path.is_file()}
    for folder in list(folders):
        for root, inner, names in os.walk(folder):
            folders |= {Path(root, name) for name in inner}
            files |= {path for name in names if (path := Path(root, name)).is_file()}
    return folders, files
