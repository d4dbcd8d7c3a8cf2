"""What all request bodies have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """A request body: strict about types, and about fields that nobody would act on."""

    model_config = ConfigDict(extra="forbid", strict=True)
