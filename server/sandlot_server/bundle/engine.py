"""What a bundle takes from an engine and gives to another: images, and the volume with the agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from docker.errors import NotFound

from sandlot_server.errors import BundleError
from sandlot_server.runtime.base import AGENT_PATH
from sandlot_server.runtime.docker_client import AGENT_LABEL, connect, telling_errors

PLACE = AGENT_PATH.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume with an agent: its name and its labels."""

    name: str
    labels: dict[str, str]


class Engine:
    """The engine that the environment names; every method blocks, and raises EngineError or EngineUnavailable."""

    def __init__(self) -> None:
        self._client: Any = connect(timeout=600)

    def close(self) -> None:
        """Let go of the engine."""
        self._client.close()

    @property
    def architecture(self) -> str:
        """What its images run on, as `amd64`."""
        return str(self._client.version()["Arch"])

    def find_images(self, names: Iterable[str]) -> list[str]:
        """Return all tags that these names, some of which may be repositories, mean; none where there are none."""
        with telling_errors():
            found = [image for name in names for image in self._client.images(name=name)]
        return [tag for image in found for tag in image["RepoTags"] or ()]

    def find_tags(self, image: str) -> list[str]:
        """Return all names that an image has; none where there is no such image."""
        with telling_errors():
            try:
                return list(self._client.inspect_image(image)["RepoTags"] or ())
            except NotFound:
                return []

    def save_images(self, names: Sequence[str]) -> Iterator[bytes]:
        """Yield an archive of images, in which the layers that they share stand once."""
        with telling_errors():
            # The SDK's own method takes one image; the engine takes several.
            url = self._client._url("/images/get")
            reply = self._client._get(url, params={"names": list(names)}, stream=True)
            yield from self._client._stream_raw_result(reply, 1 << 20, decode=False)

    def load_images(self, archive: Iterator[bytes]) -> None:
        """Have the engine take what `save_images` has made."""
        with telling_errors():
            for message in self._client.load_image(archive):
                if "error" in message:
                    raise BundleError(f"the engine did not take the images: {message['error']}")

    def find_volume(self, name: str | None) -> Volume:
        """Return the agent's volume of this name, or the newest one; raises BundleError when there is none."""
        with telling_errors():
            found = self._client.volumes(filters={"label": AGENT_LABEL})["Volumes"] or []
        fitting = [one for one in found if name in (None, one["Name"])]
        if not fitting:
            raise BundleError("there is no agent on the engine: `make images` makes it")
        newest = max(fitting, key=lambda one: str(one["CreatedAt"]))
        return Volume(str(newest["Name"]), dict(newest["Labels"] or {}))

    def has_volume(self, name: str) -> bool:
        """Whether a volume of this name is there."""
        with telling_errors():
            try:
                self._client.inspect_volume(name)
            except NotFound:
                return False
            return True

    def save_volume(self, volume: Volume, image: str) -> Iterator[bytes]:
        """Yield an archive of what is in a volume."""
        with telling_errors(), self._mounting(volume.name, image) as holder:
            chunks, _ = self._client.get_archive(holder, AGENT_PATH, chunk_size=1 << 20)
            yield from chunks

    def load_volume(self, volume: Volume, archive: Iterator[bytes], image: str) -> None:
        """Make a volume of what `save_volume` has yielded, whole or not at all."""
        with telling_errors():
            self._client.create_volume(volume.name, labels=volume.labels)
            try:
                with self._mounting(volume.name, image) as holder:
                    self._client.put_archive(holder, PLACE, archive)
            except BaseException:
                self._client.remove_volume(volume.name, force=True)
                raise

    @contextmanager
    def _mounting(self, volume: str, image: str) -> Iterator[str]:
        """Have a container with the volume that never runs: files go in and out of it all the same."""
        mount = {"Type": "volume", "Source": volume, "Target": AGENT_PATH, "VolumeOptions": {"NoCopy": True}}
        config = {"Image": image, "Cmd": ["true"], "HostConfig": {"Mounts": [mount], "NetworkMode": "none"}}
        holder = str(self._client.create_container_from_config(config)["Id"])
        try:
            yield holder
        finally:
            self._client.remove_container(holder, force=True)
