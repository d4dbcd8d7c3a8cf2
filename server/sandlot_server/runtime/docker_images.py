"""Images made here: the changes of a container on top of the image it came from."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, cast

import requests
from docker.errors import APIError, ImageNotFound
from docker.utils import parse_repository_tag

from sandlot_server.build_models import Credentials
from sandlot_server.errors import DiskFull, EngineError
from sandlot_server.runtime import layers
from sandlot_server.runtime.archives import MAX_LAYERS, Layer, iterate_archive, make_image_config
from sandlot_server.runtime.base import Capture, ImageInfo
from sandlot_server.runtime.container_config import INSTALLATION_LABEL, make_copier_config
from sandlot_server.runtime.docker_disk import count_folders

MIB = 1024 * 1024
COPIES = 2
"""What is captured lies on the disk twice for a while: as our file, and in the engine."""


class Digester:
    """Passes so many bytes on and keeps their digest; raises DiskFull on the first one too many."""

    def __init__(self, out: BinaryIO, room: int) -> None:
        self._out = out
        self._room = room
        self._hash = hashlib.sha256()

    def check(self, size: int) -> None:
        """Raise DiskFull when this much more does not fit."""
        if size > self._room:
            raise DiskFull(
                f"the files of the sandbox, in which holes count as written, do not fit on the disk: there is room for "
                f"{max(0, self._room) // MIB} MiB (SANDLOT_MIN_FREE_DISK_MB stay free)"
            )

    def write(self, data: bytes) -> int:
        """Pass on; raises DiskFull, OSError."""
        self.check(len(data))
        self._room -= len(data)
        self._hash.update(data)
        return self._out.write(data)

    @property
    def digest(self) -> str:
        """Of what has passed."""
        return f"sha256:{self._hash.hexdigest()}"


class ImageMaker:
    """Captures containers and makes images; every method blocks."""

    def __init__(self, find_client: Callable[[], Any], installation: str, folder: Path, *, keep_free: int = 0) -> None:
        self._find_client = find_client
        self._installation = installation
        self._folder = folder
        self._keep_free = keep_free

    @property
    def _client(self) -> Any:
        return self._find_client()

    @property
    def _repository(self) -> str:
        return f"sandlot/build-{self._installation}"

    def clear(self) -> None:
        """Remove what a server that ended in the middle has left."""
        self._folder.mkdir(mode=0o700, exist_ok=True, parents=True)
        for left in self._folder.iterdir():
            left.unlink()

    def capture(self, name: str, agent_volume: str) -> Capture:
        """Copy the container's changes into a file.

        Raises EngineError where the engine keeps them out of reach, and DiskFull where there is no room for them.
        """
        found = self._client.inspect_container(name)
        upper = (found.get("GraphDriver", {}).get("Data") or {}).get("UpperDir")
        if upper is None:
            raise EngineError("snapshots need an engine with the overlay2 storage driver")
        handle, path = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(handle, "wb") as file:
            out = Digester(file, self._measure_room())
            try:
                self._copy(upper, found["Image"], agent_volume, out)
            except BaseException as error:
                Path(path).unlink()
                if isinstance(error, OSError | layers.UnfitLayer):
                    raise EngineError(f"the files of the sandbox could not be copied: {error}") from error
                raise
        return Capture(found["Image"], Path(path), out.digest)

    def _measure_room(self) -> int:
        found = os.statvfs(self._folder)
        return (found.f_bavail * found.f_frsize - self._keep_free) // COPIES

    def _copy(self, upper: str, image: str, agent_volume: str, out: Digester) -> None:
        if os.access(upper, os.R_OK | os.X_OK):
            # Found out before anything is written, while the sandbox stands still.
            out.check(count_folders([upper], holes=True).get(upper, 0))
            layers.write_layer(upper, cast("BinaryIO", out))
        else:
            self.copy_in_container(upper, image, agent_volume, out)

    def copy_in_container(self, upper: str, image: str, agent_volume: str, out: Any) -> None:
        """Copy where this process cannot see the engine's files: our code runs in a container that can."""
        program = Path(layers.__file__).read_text()
        config = make_copier_config(self._installation, image, agent_volume, upper, program)
        copier = self._client.create_container_from_config(config)["Id"]
        complaint = b""
        try:
            stream = self._client.attach(copier, stdout=True, stderr=True, stream=True, demux=True)
            with closing(stream._response):  # closing the stream itself leaves the connection open
                self._client.start(copier)
                for data, error in stream:
                    out.write(data or b"")
                    complaint += error or b""
            if self._client.wait(copier)["StatusCode"] != 0:
                raise EngineError(f"the files of the sandbox could not be copied: {complaint.decode(errors='replace')}")
        finally:
            self._client.remove_container(copier, force=True)

    def make(self, capture: Capture, build_id: str) -> str:
        """Load a capture as an image and return its name; the captured file is gone afterwards."""
        assert capture.layer is not None
        layer = Layer(capture.layer, capture.diff_id)
        try:
            parent = self._client.inspect_image(capture.image_id)
            parents = len(parent["RootFS"]["Layers"])
            if parents >= MAX_LAYERS:
                raise EngineError(f"a snapshot of a snapshot can be {MAX_LAYERS} layers deep, and this is that deep")
            config = make_image_config(parent, layer, {INSTALLATION_LABEL: self._installation})
            tag = f"{self._repository}:{build_id}"
            for message in self._client.load_image(iterate_archive(config, layer, parents, tag)):
                if "error" in message:
                    raise EngineError(f"the engine did not take the snapshot: {message['error']}")
        finally:
            capture.layer.unlink(missing_ok=True)
        return tag

    def find(self, name: str) -> str | None:
        """Return the id of the image with this name."""
        try:
            return str(self._client.inspect_image(name)["Id"])
        except ImageNotFound:
            return None

    def describe(self, name: str) -> ImageInfo | None:
        """Return what the image with this name says of itself."""
        try:
            found = self._client.inspect_image(name)
        except ImageNotFound:
            return None
        return ImageInfo(found["Id"], found["Config"].get("Labels") or {})

    def pull(self, name: str, credentials: Credentials | None) -> None:
        """Get an image from its registry; raises EngineError with what the registry said."""
        repository, tag = parse_repository_tag(name)
        login = {"username": credentials.username, "password": credentials.password} if credentials else None
        try:
            for message in self._client.pull(repository, tag or "latest", stream=True, decode=True, auth_config=login):
                if "error" in message:
                    raise EngineError(f"image '{name}' could not be pulled: {message['error']}")
        except APIError as error:
            raise EngineError(f"image '{name}' could not be pulled: {error.explanation or error}") from error

    def tag(self, image: str, build_id: str) -> str:
        """Give an image a name of ours."""
        self._client.tag(image, self._repository, build_id, force=True)
        return f"{self._repository}:{build_id}"

    def list_builds(self) -> list[str]:
        """Return the build ids of all images made here."""
        found = self._client.images(name=self._repository)
        tags = (tag for image in found for tag in image["RepoTags"] or ())
        return [tag.rpartition(":")[2] for tag in tags if tag.startswith(f"{self._repository}:")]

    def remove(self, build_id: str) -> None:
        """Remove an image, unless a container needs it still."""
        try:
            self._client.remove_image(f"{self._repository}:{build_id}")
        except ImageNotFound:
            return
        except APIError as error:
            if error.status_code != requests.codes.conflict:
                raise
