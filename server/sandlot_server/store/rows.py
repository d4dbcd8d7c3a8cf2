"""Sandboxes as rows: times as microseconds since 1970, what was asked for as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sandlot_server.models import (
    Activity,
    ApiKey,
    Context,
    Egress,
    Idempotency,
    Ingress,
    Lifecycle,
    LogEntry,
    Sample,
    Sandbox,
    SandboxSpec,
    SandboxState,
    Start,
    Template,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Row = Mapping[str, Any]


def encode_time(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - EPOCH) // MICROSECOND


def decode_time(microseconds: int) -> datetime:
    """The moment that `encode_time` made the number from."""
    return EPOCH + microseconds * MICROSECOND


def encode_sandbox(sandbox: Sandbox) -> dict[str, Any]:
    """The sandbox as named parameters of a query."""
    return {
        "id": sandbox.id,
        "container": sandbox.container,
        "state": str(sandbox.state),
        "started_at": encode_time(sandbox.started_at),
        "end_at": encode_time(sandbox.end_at),
        "spec": json.dumps(asdict(sandbox.spec), separators=(",", ":")),
        "boot_id": sandbox.boot_id,
        "filesystem_only": sandbox.filesystem_only,
        "stopped": sandbox.stopped,
    }


def decode_sandbox(row: Row) -> Sandbox:
    """The sandbox that a row stands for."""
    return Sandbox(
        id=row["id"],
        container=row["container"],
        state=SandboxState(row["state"]),
        started_at=decode_time(row["started_at"]),
        end_at=decode_time(row["end_at"]),
        spec=_decode_spec(json.loads(row["spec"])),
        boot_id=row["boot_id"],
        filesystem_only=bool(row["filesystem_only"]),
        stopped=bool(row["stopped"]),
    )


def _decode_spec(fields: dict[str, Any]) -> SandboxSpec:
    lifecycle = Lifecycle(**fields.pop("lifecycle"))
    ingress = fields.pop("ingress")
    if ingress is not None:
        ingress = Ingress(**{**ingress, "https_ports": tuple(ingress["https_ports"])})
    # Rows of earlier versions lack what came later.
    idempotency = fields.pop("idempotency", None)
    if idempotency is not None:
        idempotency = Idempotency(**idempotency)
    egress = _decode_egress(fields.pop("egress", None))
    mcp_servers = tuple(fields.pop("mcp_servers", ()))
    context, start = decode_context(fields.pop("context", None)), decode_start(fields.pop("start", None))
    return SandboxSpec(
        **fields,
        lifecycle=lifecycle,
        ingress=ingress,
        egress=egress,
        mcp_servers=mcp_servers,
        idempotency=idempotency,
        context=context,
        start=start,
    )


def _decode_egress(fields: dict[str, Any] | None) -> Egress | None:
    if fields is None:
        return None
    return Egress(
        allow_out=tuple(fields["allow_out"]),
        deny_out=tuple(fields["deny_out"]),
        dns_servers=tuple(fields["dns_servers"]),
        internet=fields["internet"],
    )


def decode_context(fields: dict[str, Any] | None) -> Context:
    """The context that was kept as JSON; the default one where there was none."""
    return Context(**fields) if fields else Context()


def decode_start(fields: dict[str, Any] | None) -> Start | None:
    """The start command that was kept as JSON, if there was one."""
    return Start(**{**fields, "context": decode_context(fields["context"])}) if fields else None


def encode_template(template: Template) -> dict[str, Any]:
    """The template as named parameters of queries; its names are rows of their own."""
    return {
        "id": template.id,
        "build_id": template.build_id,
        "image": template.image,
        "cpu_count": template.cpu_count,
        "memory_mb": template.memory_mb,
        "tag": template.tag,
        "created_at": encode_time(template.created_at),
        "source_sandbox": template.source_sandbox,
        "context": json.dumps(asdict(template.context), separators=(",", ":")),
        "start": json.dumps(asdict(template.start), separators=(",", ":")) if template.start else None,
        "public": template.public,
        "team": template.team,
    }


def decode_template(row: Row, names: list[str]) -> Template:
    """The template that a row of a tag stands for."""
    return Template(
        id=row["template_id"],
        build_id=row["build_id"],
        names=tuple(names),
        image=row["image"],
        cpu_count=row["cpu_count"],
        memory_mb=row["memory_mb"],
        created_at=decode_time(row["created_at"]),
        tag=row["tag"],
        source_sandbox=row["source_sandbox"],
        context=decode_context(json.loads(row["context"])),
        start=decode_start(json.loads(row["start"])) if row["start"] else None,
        public=bool(row["public"]),
        team=row["team"],
    )


def encode_entry(entry: LogEntry) -> dict[str, Any]:
    """The entry as named parameters of a query."""
    return {
        "sandbox_id": entry.sandbox_id,
        "at": encode_time(entry.at),
        "event": entry.event,
        "level": entry.level,
        "message": entry.message,
        "fields": json.dumps(dict(entry.fields), separators=(",", ":")),
    }


def decode_entry(row: Row) -> LogEntry:
    """The entry that a row stands for."""
    return LogEntry(
        at=decode_time(row["at"]),
        sandbox_id=row["sandbox_id"],
        level=row["level"],
        message=row["message"],
        event=row["event"],
        fields=json.loads(row["fields"]),
    )


def encode_sample(sample: Sample) -> dict[str, Any]:
    """The sample as named parameters of a query."""
    return {**asdict(sample), "at": encode_time(sample.at)}


def decode_sample(row: Row) -> Sample:
    """The sample that a row stands for."""
    return Sample(**{**row, "at": decode_time(row["at"])})


def decode_activity(row: Row) -> Activity:
    """The activity that a row stands for."""
    return Activity(**{**row, "at": decode_time(row["at"])})


def encode_key(key: ApiKey) -> dict[str, Any]:
    """The key as named parameters of a query."""
    return {
        **asdict(key),
        "masked": " ".join(key.masked),
        "created_at": encode_time(key.created_at),
        "last_used": encode_time(key.last_used) if key.last_used else None,
    }


def decode_key(row: Row) -> ApiKey:
    """The key that a row stands for."""
    begin, end = row["masked"].split(" ")
    last_used = decode_time(row["last_used"]) if row["last_used"] is not None else None
    return ApiKey(
        **{**row, "masked": (begin, end), "created_at": decode_time(row["created_at"]), "last_used": last_used}
    )
