"""What a template begins with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, cast

from ._context import Context
from ._recipe import Recipe, find_caller
from .config import ApiParams
from .exceptions import InvalidArgumentException
from .template_builder import TemplateBuilder, TemplateClass

BASE_IMAGE = "e2bdev/base"


class TemplateBase:
    """A template without steps: say what it begins with. Without that, it is Sandlot's base image."""

    _bound_api_params: ClassVar[ApiParams] = {}

    def __init__(
        self, file_context_path: str | Path | None = None, file_ignore_patterns: list[str] | None = None
    ) -> None:
        """Begin a template.

        `file_context_path`: the folder that files are copied from, that of the calling file unless given.
        `file_ignore_patterns`: what is not copied, as further lines of the folder's `.dockerignore`.
        """
        self._context = Path(file_context_path) if file_context_path is not None else _find_folder()
        self._ignore = file_ignore_patterns or []
        self._force = False

    @classmethod
    def _resolve(cls, opts: ApiParams) -> ApiParams:
        given = {name: value for name, value in opts.items() if value is not None}
        return cast("ApiParams", {**cls._bound_api_params, **given})

    def _begin(self, recipe: Recipe) -> TemplateBuilder:
        recipe.force = self._force
        builder = TemplateBuilder(recipe, self._context, self._ignore)
        return builder.skip_cache() if self._force else builder

    def skip_cache(self) -> TemplateBase:
        """Run every step again, whatever an earlier build has left."""
        self._force = True
        return self

    def from_image(self, image: str, username: str | None = None, password: str | None = None) -> TemplateBuilder:
        """Begin with an image of a registry. Raises InvalidArgumentException for a name without a password."""
        if username is None and password is None:
            return self._begin(Recipe(image=image))
        if not username or not password:
            raise InvalidArgumentException("username and password are of use only together")
        return self._begin(Recipe(image=image, registry=_registry("registry", username=username, password=password)))

    def from_template(self, template: str) -> TemplateBuilder:
        """Begin with a template that is there, by its name or id."""
        return self._begin(Recipe(template=template))

    def from_dockerfile(self, dockerfile_content_or_path: str) -> TemplateBuilder:
        """Begin with a Dockerfile, given as a path or as its text. Raises DockerfileSyntaxError."""
        from ._dockerfile import read_dockerfile  # its parser is slow to import

        path = _find_file(dockerfile_content_or_path)
        text = path.read_text() if path else dockerfile_content_or_path
        recipe = read_dockerfile(text, str(path or "Dockerfile"))
        for step in recipe.steps:
            step.force = self._force
        return self._begin(recipe)

    def from_base_image(self) -> TemplateBuilder:
        """Begin with Sandlot's base image."""
        return self.from_image(BASE_IMAGE)

    def from_debian_image(self, variant: str = "stable") -> TemplateBuilder:
        """Begin with `debian:<variant>`."""
        return self.from_image(f"debian:{variant}")

    def from_ubuntu_image(self, variant: str = "latest") -> TemplateBuilder:
        """Begin with `ubuntu:<variant>`."""
        return self.from_image(f"ubuntu:{variant}")

    def from_fedora_image(self, variant: str = "44") -> TemplateBuilder:
        """Begin with `fedora:<variant>`."""
        return self.from_image(f"fedora:{variant}")

    def from_alpine_image(self, variant: str = "3.24") -> TemplateBuilder:
        """Begin with `alpine:<variant>`."""
        return self.from_image(f"alpine:{variant}")

    def from_arch_image(self, variant: str = "latest") -> TemplateBuilder:
        """Begin with `archlinux:<variant>`."""
        return self.from_image(f"archlinux:{variant}")

    def from_python_image(self, version: str = "3") -> TemplateBuilder:
        """Begin with `python:<version>`."""
        return self.from_image(f"python:{version}")

    def from_node_image(self, variant: str = "lts") -> TemplateBuilder:
        """Begin with `node:<variant>`."""
        return self.from_image(f"node:{variant}")

    def from_bun_image(self, variant: str = "latest") -> TemplateBuilder:
        """Begin with `oven/bun:<variant>`."""
        return self.from_image(f"oven/bun:{variant}")

    def from_aws_registry(self, image: str, access_key_id: str, secret_access_key: str, region: str) -> TemplateBuilder:
        """Begin with an image of Amazon's registry; a Sandlot server refuses it and says what to do instead."""
        keys = {"awsAccessKeyId": access_key_id, "awsSecretAccessKey": secret_access_key, "awsRegion": region}
        return self._begin(Recipe(image=image, registry=_registry("aws", **keys)))

    def from_gcp_registry(self, image: str, service_account_json: str | dict[str, Any]) -> TemplateBuilder:
        """Begin with an image of Google's registry. `service_account_json`: the account, or the path of its file.

        A path is relative to the folder of the template. Raises OSError when it cannot be read.
        """
        given = service_account_json
        text = (self._context / given).read_text() if isinstance(given, str) else json.dumps(given)
        return self._begin(Recipe(image=image, registry=_registry("gcp", serviceAccountJson=text)))

    @staticmethod
    def to_json(template: TemplateClass) -> str:
        """Return the request that would start the build, as JSON. Reads the files that are copied."""
        return json.dumps(template._recipe.to_plan(hash_files(template)), indent=2)

    @staticmethod
    def to_dockerfile(template: TemplateClass) -> str:
        """Return the template as a Dockerfile. Raises ValueError for one that begins with another template."""
        recipe = template._recipe
        if recipe.image is None:
            raise ValueError(f"template '{recipe.template}' is no image that a Dockerfile could begin with")
        lines = [f"FROM {recipe.image}", *(_write_step(step.kind, step.args) for step in recipe.steps)]
        lines += [f"ENTRYPOINT {recipe.start_command}"] if recipe.start_command else []
        return "\n".join([*lines, ""])


def hash_files(template: TemplateClass) -> dict[int, str]:
    """Return the names of the files of each COPY, by the step's index. Raises InvalidArgumentException, OSError."""
    context = Context(template._context, template._ignore)
    copies = ((index, step) for index, step in enumerate(template._recipe.steps) if step.kind == "COPY")
    return {
        index: context.hash(
            context.find(step.args[0], follow=step.resolve_symlinks), *step.args, follow=step.resolve_symlinks
        )
        for index, step in copies
    }


def _write_step(kind: str, args: list[str]) -> str:
    if kind in ("ENV", "ARG"):
        args = [f"{name}={value}" for name, value in zip(args[::2], args[1::2], strict=True)]
    elif kind in ("RUN", "COPY"):
        args = args[: 1 if kind == "RUN" else 2]  # a Dockerfile says users and owners in other ways
    return f"{kind} {' '.join(args)}"


def _registry(kind: str, **keys: str) -> dict[str, str]:
    return {"type": kind, **keys}


def _find_folder() -> Path:
    folder = Path(find_caller()[0]).parent
    return folder if folder.is_dir() else Path()


def _find_file(text: str) -> Path | None:
    try:
        return Path(text) if Path(text).is_file() else None
    except (OSError, ValueError):  # too long to be a name, or with a zero byte
        return None
