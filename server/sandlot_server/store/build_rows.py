"""Builds, their logs and layers as rows."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sandlot_server.build_models import Build, BuildLog, BuildStatus, Layer, Reason
from sandlot_server.store.rows import Row, decode_context, decode_time, encode_time


def encode_build(build: Build) -> dict[str, Any]:
    """The build as named parameters of a query."""
    return {
        **asdict(build),
        "tags": json.dumps(build.tags),
        "status": str(build.status),
        "created_at": encode_time(build.created_at),
        "updated_at": encode_time(build.updated_at),
        "finished_at": encode_time(build.finished_at) if build.finished_at else None,
        "reason": json.dumps(asdict(build.reason)) if build.reason else None,
    }


def decode_build(row: Row) -> Build:
    """The build that a row stands for."""
    return Build(
        **{
            **row,
            "tags": tuple(json.loads(row["tags"])),
            "status": BuildStatus(row["status"]),
            "created_at": decode_time(row["created_at"]),
            "updated_at": decode_time(row["updated_at"]),
            "finished_at": decode_time(row["finished_at"]) if row["finished_at"] is not None else None,
            "reason": Reason(**json.loads(row["reason"])) if row["reason"] else None,
        }
    )


def encode_log(build_id: str, line: BuildLog) -> dict[str, Any]:
    """The line as named parameters of a query."""
    return {**asdict(line), "at": encode_time(line.at), "build_id": build_id}


def decode_log(row: Row) -> BuildLog:
    """The line that a row stands for."""
    return BuildLog(**{**row, "at": decode_time(row["at"])})


def encode_layer(layer: Layer) -> dict[str, Any]:
    """The layer as named parameters of a query."""
    context = json.dumps(asdict(layer.context), separators=(",", ":"))
    return {**asdict(layer), "context": context, "used_at": encode_time(layer.used_at)}


def decode_layer(row: Row) -> Layer:
    """The layer that a row stands for."""
    context = decode_context(json.loads(row["context"]))
    return Layer(**{**row, "context": context, "used_at": decode_time(row["used_at"])})
