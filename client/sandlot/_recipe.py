"""What a template is made of: what it begins with, its steps, what it starts."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = str(Path(__file__).parent)


@dataclass
class Step:
    """One step of a build, and how the files of a COPY are sent."""

    kind: str
    args: list[str]
    force: bool = False
    origin: str = ""
    """Where it was written down."""
    force_upload: bool = False
    resolve_symlinks: bool = False
    gzip: bool = True


@dataclass
class Recipe:
    """Everything that a build is asked for with."""

    image: str | None = None
    template: str | None = None
    registry: dict[str, str] | None = None
    steps: list[Step] = field(default_factory=list)
    start_command: str | None = None
    ready_command: str | None = None
    force: bool = False

    def to_plan(self, hashes: dict[int, str], *, force: bool = False) -> dict[str, Any]:
        """Return the request that starts the build; `hashes`: of the files of COPY steps, by the step's index."""
        plan = {
            "fromImage": self.image,
            "fromTemplate": self.template,
            "fromImageRegistry": self.registry,
            "startCmd": self.start_command,
            "readyCmd": self.ready_command,
        }
        steps = [_shape_step(step, hashes.get(index)) for index, step in enumerate(self.steps)]
        given = {key: value for key, value in plan.items() if value is not None}
        return {**given, "steps": steps, "force": self.force or force}

    def find_origin(self, step: str | None) -> str:
        """Return where the step that a build names was written down, nothing when it was in no file."""
        index = int(step) - 1 if step is not None and step.isdecimal() else -1
        return self.steps[index].origin if 0 <= index < len(self.steps) else ""


def _shape_step(step: Step, files_hash: str | None) -> dict[str, Any]:
    shaped: dict[str, Any] = {"type": step.kind, "args": step.args, "force": step.force}
    return shaped if files_hash is None else {**shaped, "filesHash": files_hash}


def find_caller() -> tuple[str, int]:
    """Return the file and the line of the nearest caller outside of this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
