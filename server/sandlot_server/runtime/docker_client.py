"""The Docker SDK as we use it: where the engine is, what its errors mean, and containers that are only a tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import kwargs_from_env

from sandlot_server.errors import ContainerGone, EngineError, EngineUnavailable, StuckContainer

AGENT_LABEL = "dev.sandlot.agent"


def connect(**options: Any) -> docker.APIClient:
    """Return a client of the engine that DOCKER_HOST names; raises EngineUnavailable."""
    with telling_errors():
        return docker.APIClient(version="auto", **options, **kwargs_from_env())


@contextmanager
def telling_errors() -> Iterator[None]:
    """Translate what the Docker SDK raises."""
    try:
        yield
    except ImageNotFound as error:
        raise EngineError(f"{error.explanation}: `make images` builds what is missing") from error
    except NotFound as error:
        raise ContainerGone(str(error.explanation)) from error
    except APIError as error:
        told = str(error.explanation or error)
        raise _choose_error(told)(told) from error
    except (requests.exceptions.RequestException, DockerException) as error:
        raise EngineUnavailable(f"the Docker engine does not answer: {error}") from error


def _choose_error(told: str) -> type[EngineError]:
    if "is not running" in told:
        return ContainerGone
    is_stuck = (told.endswith(": already exists") and told.startswith("task ")) or told == "id already in use"
    return StuckContainer if is_stuck else EngineError


def find_agent(engine: docker.APIClient) -> str:
    """Return the name of the newest volume with the agent; raises EngineError when there is none."""
    volumes = engine.volumes(filters={"label": AGENT_LABEL})["Volumes"] or []
    if not volumes:
        raise EngineError("no volume with the agent is on the engine: `make images` makes it")
    newest = max(volumes, key=lambda volume: str(volume["CreatedAt"]))
    return str(newest["Name"])


def remove_container(client: Any, name: str) -> None:
    """Kill and remove a container, anonymous volumes included, or wait until it is removed; it may be gone already."""
    try:
        client.remove_container(name, v=True, force=True)
    except NotFound:
        return
    except APIError as error:
        # Somebody else removes it already: that is as good, once it is done.
        if error.status_code != requests.codes.conflict or "already in progress" not in str(error.explanation):
            raise
        _wait_until_removed(client, name)


def _wait_until_removed(client: Any, name: str) -> None:
    try:
        client.wait(name, condition="removed")
    except NotFound:
        return


def run_tool(client: Any, config: dict[str, Any], failed: Callable[[str], EngineError]) -> str:
    """Run a container to its end and remove it; returns what it wrote, raises what `failed` makes of a complaint."""
    try:
        tool = client.create_container_from_config(config)["Id"]
        try:
            client.start(tool)
            code = client.wait(tool)["StatusCode"]
            output = str(client.logs(tool, stdout=True, stderr=code != 0), errors="replace")
        finally:
            remove_container(client, tool)
    except APIError as error:
        raise failed(str(error.explanation)) from error
    if code != 0:
        raise failed(output.strip())
    return output
