"""Requests and answers of template builds, as they are on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sandlot_server.api.schemas import shape_time
from sandlot_server.api.wire import Wire
from sandlot_server.build_models import Build, BuildLog, Credentials, Plan, Step
from sandlot_server.errors import InvalidRequest, NotBuilt
from sandlot_server.names import parse_own_name, parse_tag, show_name

MAX_NAME = 128
LEVELS = ("debug", "info", "warn", "error")
GCP_USER = "_json_key"
"""The user name under which a Google registry takes a service account's JSON as the password."""


class BuildRequest(Wire):
    """POST /v3/templates."""

    name: Annotated[str, Field(max_length=MAX_NAME)] | None = None
    alias: Annotated[str, Field(max_length=MAX_NAME)] | None = None
    tags: list[str] | None = None
    teamID: str | None = None  # noqa: N815 - named by the wire
    cpuCount: int | None = None  # noqa: N815
    memoryMB: int | None = None  # noqa: N815

    def parse_name(self, team: str) -> tuple[str, list[str]]:
        """Return the name as it is kept, and all tags, that of the name first; raises InvalidRequest."""
        given = self.name if self.name is not None else self.alias
        if given is None:
            raise InvalidRequest("Name is required")
        name, tag = parse_own_name(given, team)
        tags = [tag] if ":" in given else []
        return name, list(dict.fromkeys(tags + [parse_tag(one) for one in self.tags or ()]))


class GeneralRegistry(Wire):
    """A registry with a user and a password."""

    type: Literal["registry"]
    username: str
    password: str


class AwsRegistry(Wire):
    """Amazon's registry."""

    type: Literal["aws"]
    awsAccessKeyId: str  # noqa: N815
    awsSecretAccessKey: str  # noqa: N815
    awsRegion: str  # noqa: N815


class GcpRegistry(Wire):
    """Google's registry."""

    type: Literal["gcp"]
    serviceAccountJson: str  # noqa: N815


Registry = Annotated[GeneralRegistry | AwsRegistry | GcpRegistry, Field(discriminator="type")]


class StepBody(Wire):
    """One step of a build. SDKs also send how they packed its files, which is done by then."""

    type: str
    args: list[str] | None = None
    filesHash: str | None = None  # noqa: N815
    force: bool | None = None
    forceUpload: bool | None = None  # noqa: N815
    resolveSymlinks: bool | None = None  # noqa: N815
    gzip: bool | None = None

    def to_step(self) -> Step:
        """The step as the builder takes it."""
        return Step(self.type.upper(), tuple(self.args or ()), self.filesHash, bool(self.force))


class BuildStart(Wire):
    """POST /v2/templates/{templateID}/builds/{buildID}."""

    fromImage: str | None = None  # noqa: N815
    fromTemplate: str | None = None  # noqa: N815
    fromImageRegistry: Registry | None = None  # noqa: N815
    force: bool | None = None
    steps: list[StepBody] | None = None
    startCmd: str | None = None  # noqa: N815
    readyCmd: str | None = None  # noqa: N815

    @model_validator(mode="after")
    def _check_base(self) -> BuildStart:
        if bool(self.fromImage) == bool(self.fromTemplate):
            raise ValueError("exactly one of fromImage and fromTemplate must be given")
        return self

    def to_plan(self) -> Plan:
        """The plan as the builder takes it; raises NotBuilt for what it cannot do."""
        return Plan(
            from_image=self.fromImage or None,
            from_template=self.fromTemplate or None,
            credentials=make_credentials(self.fromImageRegistry),
            force=bool(self.force),
            steps=tuple(step.to_step() for step in self.steps or ()),
            start_command=self.startCmd or "",
            ready_command=self.readyCmd or "",
        )


def make_credentials(registry: GeneralRegistry | AwsRegistry | GcpRegistry | None) -> Credentials | None:
    """What to show the registry; raises NotBuilt for Amazon's, which wants a token from another service first."""
    match registry:
        case None:
            return None
        case GeneralRegistry():
            return Credentials(registry.username, registry.password)
        case GcpRegistry():
            return Credentials(GCP_USER, registry.serviceAccountJson)
        case AwsRegistry():
            raise NotBuilt("pulling with AWS credentials (get a token with `aws ecr get-login-password`)")


def shape_request(build: Build, *, public: bool) -> dict[str, Any]:
    """The answer to a request for a build."""
    return {
        "templateID": build.template_id,
        "buildID": build.id,
        "public": public,
        "names": [show_name(build.name)],
        "aliases": [build.name.rpartition("/")[2]],
        "tags": list(build.tags),
    }


def shape_status(build: Build, lines: list[BuildLog]) -> dict[str, Any]:
    """How far a build is, with a page of its log."""
    entries = [shape_line(line) for line in lines]
    shaped: dict[str, Any] = {
        "templateID": build.template_id,
        "buildID": build.id,
        "status": str(build.status),
        "logs": [],
        "logEntries": entries,
    }
    if build.reason is not None:
        shaped["reason"] = {"message": build.reason.message}
        if build.reason.step is not None:
            of_step = [entry for entry in entries if entry.get("step") == build.reason.step]
            shaped["reason"] |= {
                "step": build.reason.step,
                "logEntries": [entry for entry in of_step if entry["level"] in ("warn", "error")],
            }
    return shaped


def shape_line(line: BuildLog) -> dict[str, Any]:
    """One line of a log."""
    shaped = {"timestamp": shape_time(line.at), "message": line.message, "level": line.level}
    return shaped if line.step is None else {**shaped, "step": line.step}


def shape_build(build: Build, envd_version: str) -> dict[str, Any]:
    """A build among those of its template."""
    return {
        "buildID": build.id,
        "status": str(build.status),
        "createdAt": shape_time(build.created_at),
        "updatedAt": shape_time(build.updated_at),
        "finishedAt": _shape_optional(build.finished_at),
        "cpuCount": build.cpu_count,
        "memoryMB": build.memory_mb,
        "diskSizeMB": 0,
        "envdVersion": envd_version,
    }


def _shape_optional(moment: datetime | None) -> str | None:
    return None if moment is None else shape_time(moment)
