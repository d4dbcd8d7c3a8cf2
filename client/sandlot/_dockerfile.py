"""A Dockerfile as the steps of a template build. What a template cannot have is refused by name."""

from __future__ import annotations

import io
import json
import shlex

from dockerfile_parse import DockerfileParser

from ._recipe import Recipe, Step
from .exceptions import DockerfileSyntaxError

READY = "sleep 20"
"""What E2B's tools wait for after a CMD or ENTRYPOINT: nobody has said how to tell that it is ready."""
METADATA = frozenset({"EXPOSE", "LABEL", "MAINTAINER", "VOLUME", "COMMENT"})
"""Instructions that say something of an image and change nothing in it."""


def read_dockerfile(text: str, name: str = "Dockerfile") -> Recipe:
    """Return the recipe in a Dockerfile; raises DockerfileSyntaxError, naming the line. `name`: the file's, if any."""
    if "<<" in text:
        raise DockerfileSyntaxError("here-documents in a Dockerfile are not supported")
    parser = DockerfileParser(fileobj=io.BytesIO(text.encode()))
    reader = _Reader(name)
    for instruction in parser.structure:
        line = instruction["startline"] + 1
        try:
            reader.take(instruction["instruction"].upper(), instruction["value"], line)
        except DockerfileSyntaxError as error:
            raise DockerfileSyntaxError(f"line {line}: {error}") from error
    return reader.finish()


class _Reader:
    """Takes one instruction after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = 0
        self._recipe = Recipe()
        self._changed: set[str] = set()
        self._entrypoint = self._command = ""

    def take(self, name: str, value: str, line: int) -> None:
        self._line = line
        handler = getattr(self, f"_take_{name.lower()}", None)
        if name in METADATA:
            return
        if handler is None:
            raise DockerfileSyntaxError(f"{name} is not supported")
        if not self._recipe.image and name not in ("FROM", "ARG"):
            raise DockerfileSyntaxError(f"{name} comes before FROM")
        handler(value)

    def finish(self) -> Recipe:
        if not self._recipe.image:
            raise DockerfileSyntaxError("a Dockerfile needs a FROM")
        # As E2B's tools do it: a Dockerfile begins as root, and a sandbox is its user's.
        if "USER" not in self._changed:
            self._add("USER", "user")
        if "WORKDIR" not in self._changed:
            self._add("WORKDIR", "/home/user")
        if command := f"{self._entrypoint} {self._command}".strip():
            self._recipe.start_command, self._recipe.ready_command = command, READY
        return self._recipe

    def _add(self, kind: str, *args: str) -> None:
        self._recipe.steps.append(Step(kind, list(args), origin=f"{self._name}:{self._line}"))

    def _take_from(self, value: str) -> None:
        if self._recipe.image:
            raise DockerfileSyntaxError("more than one stage is not supported")
        words = [word for word in value.split() if not word.startswith("--platform=")]
        if not words or words[0].startswith("--"):
            raise DockerfileSyntaxError(f"FROM {value} is not understood")
        self._recipe.image = words[0]
        self._add("USER", "root")
        self._add("WORKDIR", "/")

    def _take_run(self, value: str) -> None:
        if value.startswith("--"):
            raise DockerfileSyntaxError(f"RUN {value.split()[0]} is not supported")
        self._add("RUN", _read_command(value))

    def _take_copy(self, value: str) -> None:
        words, owner, mode = _read_words(value), "", ""
        while words and words[0].startswith("--"):
            flag, _, given = words.pop(0).partition("=")
            if flag == "--chown":
                owner = given
            elif flag == "--chmod":
                mode = given
            else:
                raise DockerfileSyntaxError(f"COPY {flag} is not supported")
        if len(words) < 2:
            raise DockerfileSyntaxError("COPY needs a source and a target")
        for source in words[:-1]:
            self._add("COPY", source, words[-1], owner, mode)

    def _take_add(self, value: str) -> None:
        if "://" in value:
            raise DockerfileSyntaxError("ADD of an address is not supported")
        self._take_copy(value)

    def _take_env(self, value: str) -> None:
        words = shlex.split(value)
        if words and "=" not in words[0]:
            words = [f"{words[0]}={value.partition(' ')[2].strip()}"]
        self._add("ENV", *(part for word in words for part in (word.partition("=")[0], word.partition("=")[2])))

    def _take_arg(self, value: str) -> None:
        name, equals, default = value.partition("=")
        if not self._recipe.image:
            raise DockerfileSyntaxError("ARG before FROM is not supported")
        if equals:
            self._add("ARG", name.strip(), "".join(shlex.split(default)))

    def _take_workdir(self, value: str) -> None:
        self._changed.add("WORKDIR")
        self._add("WORKDIR", value.strip().strip("\"'"))

    def _take_user(self, value: str) -> None:
        self._changed.add("USER")
        self._add("USER", value.strip().partition(":")[0])

    def _take_cmd(self, value: str) -> None:
        self._command = _read_command(value)

    def _take_entrypoint(self, value: str) -> None:
        self._entrypoint = _read_command(value)


def _read_command(value: str) -> str:
    """A command for a shell: what is given as a list is quoted."""
    if not value.lstrip().startswith("["):
        return value.strip()
    return shlex.join(_read_list(value))


def _read_words(value: str) -> list[str]:
    return _read_list(value) if value.lstrip().startswith("[") else shlex.split(value)


def _read_list(value: str) -> list[str]:
    try:
        words = json.loads(value)
    except ValueError as error:
        raise DockerfileSyntaxError(f"{value} is not a list") from error
    return [str(word) for word in words]
