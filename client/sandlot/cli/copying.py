"""`sandlot cp`: files and folders into a sandbox and out of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from sandlot import FileType, InvalidArgumentException, Sandbox
from sandlot.exceptions import NotFoundException

Place = Annotated[str, typer.Argument(help="A path here, or SANDBOX:PATH.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cp)


def cp(source: Place, destination: Place) -> None:
    """Copy a file or a whole folder into a sandbox (`cp data ID:/home/user/`) or out of it (`cp ID:out .`)."""
    come_from, go_to = split_place(source), split_place(destination)
    if (come_from is None) == (go_to is None):
        raise InvalidArgumentException("exactly one of the two must be in a sandbox: SANDBOX:PATH")
    with _progress() as progress:
        if go_to is not None:
            _upload(Path(source), Sandbox.connect(go_to[0]), go_to[1], progress)
        elif come_from is not None:
            _download(Sandbox.connect(come_from[0]), come_from[1], Path(destination), progress)


def split_place(place: str) -> tuple[str, str] | None:
    """Return sandbox id and path of SANDBOX:PATH, None for a path here."""
    sandbox_id, colon, path = place.partition(":")
    return (sandbox_id, path or ".") if colon and sandbox_id.isalnum() else None


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())


def _upload(source: Path, sandbox: Sandbox, destination: str, progress: Progress) -> None:
    if not source.exists():
        raise NotFoundException(f"there is no {source} here")
    folder = PurePosixPath(destination)
    into = destination.endswith("/") or destination == "." or _is_folder(sandbox, destination)
    if source.is_file():
        _send(source, sandbox, str(folder / source.name if into else folder), progress)
        return
    root = folder / source.name if into else folder
    sandbox.files.make_dir(str(root))
    for path in sorted(source.rglob("*")):
        target = str(root / path.relative_to(source).as_posix())
        if path.is_dir():
            sandbox.files.make_dir(target)
        elif path.is_file():
            _send(path, sandbox, target, progress)


def _is_folder(sandbox: Sandbox, path: str) -> bool:
    try:
        return sandbox.files.get_info(path).type is FileType.DIR
    except NotFoundException:
        return False


def _send(source: Path, sandbox: Sandbox, target: str, progress: Progress) -> None:
    with progress.open(source, "rb", description=source.name) as file:
        sandbox.files.write(target, file)


def _download(sandbox: Sandbox, source: str, destination: Path, progress: Progress) -> None:
    info = sandbox.files.get_info(source)
    target = destination / info.name if destination.is_dir() else destination
    if info.type is not FileType.DIR:
        _fetch(sandbox, info.path, info.size, target, progress)
        return
    target.mkdir(parents=True, exist_ok=True)
    for entry in sandbox.files.list(info.path, depth=1000):
        place = target / PurePosixPath(entry.path).relative_to(info.path)
        if entry.type is FileType.DIR:
            place.mkdir(parents=True, exist_ok=True)
        else:
            _fetch(sandbox, entry.path, entry.size, place, progress)


def _fetch(sandbox: Sandbox, source: str, size: int, target: Path, progress: Progress) -> None:
    """Write beside the target first: a cut connection leaves no half a file in its name."""
    task = progress.add_task(target.name, total=size)
    scratch = target.with_name(f".{target.name}.part")
    try:
        with scratch.open("wb") as file:
            for chunk in _read(sandbox, source):
                file.write(chunk)
                progress.advance(task, len(chunk))
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def _read(sandbox: Sandbox, source: str) -> Iterator[bytes]:
    yield from sandbox.files.read(source, format="stream")
