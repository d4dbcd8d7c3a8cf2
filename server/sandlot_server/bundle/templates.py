"""Templates as a bundle carries them: rows that name images of the bundle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from sandlot_server.errors import BundleError, Forbidden, NotFound
from sandlot_server.models import DEFAULT_TEAM, Template
from sandlot_server.runtime.base import Runtime
from sandlot_server.store.rows import decode_context, decode_start, decode_time, encode_time
from sandlot_server.templates import Catalogue, is_built_in


def pick(catalogue: Catalogue, references: Iterable[str]) -> list[Template]:
    """Return what the references mean under all tags, or all templates where there are none.

    Those that come with Sandlot stay out: they are known by their images.
    Raises BundleError for a template that does not exist.
    """
    references, wanted = list(references), set()
    for reference in references:
        if is_built_in(reference):
            continue
        try:
            wanted.add(catalogue.resolve(reference, DEFAULT_TEAM).id)
        except (NotFound, Forbidden) as error:
            raise BundleError(str(error)) from error
    chosen = wanted if references else {template.id for template in catalogue.list_tags()}
    return [one for key in sorted(chosen) if not is_built_in(key) for one in catalogue.list_of(key)]


def encode(template: Template) -> dict[str, Any]:
    """The template as JSON."""
    return {**asdict(template), "created_at": encode_time(template.created_at)}


def decode(fields: dict[str, Any]) -> Template:
    """The template that JSON stands for; raises BundleError when it does not stand for one."""
    try:
        return Template(
            **{
                **fields,
                "names": tuple(fields["names"]),
                "created_at": decode_time(fields["created_at"]),
                "context": decode_context(fields["context"]),
                "start": decode_start(fields["start"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise BundleError(f"the description of a template is not valid: {error}") from error


async def adopt(templates: Iterable[Template], *, runtime: Runtime, catalogue: Catalogue) -> None:
    """Take over templates whose images are on the engine; raises BundleError when one is missing."""
    for template in templates:
        if is_built_in(template.id):
            raise BundleError(f"template {template.id} is built in and cannot be brought along")
        if await runtime.find_image(template.image) is None:
            raise BundleError(f"image {template.image} of template {template.id} is not on the engine")
        image = await runtime.tag_image(template.image, template.build_id)
        await catalogue.save(replace(template, image=image))
