"""Templates: build them, ask for them, give them tags."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Unpack

from sandlot._async.api import Answer, Api
from sandlot._async.builds import UPLOAD_S, BuildApi, LogHandler
from sandlot._async.io import offload
from sandlot._build_wire import parse_tag, parse_tag_info
from sandlot._context import Context
from sandlot._http import quote
from sandlot._wire import parse_list
from sandlot.config import ApiParams, ConnectionConfig
from sandlot.exceptions import SandboxException, TemplateException
from sandlot.template_base import TemplateBase, hash_files
from sandlot.template_builder import TemplateClass
from sandlot.template_models import (
    BuildInfo,
    LogEntryEnd,
    LogEntryStart,
    TemplateBuildStatusResponse,
    TemplateTag,
    TemplateTagInfo,
)


class AsyncTemplate(TemplateBase):
    """What sandboxes are made from: `AsyncTemplate().from_base_image().run_cmd(…)`, and `AsyncTemplate.build(…)`."""

    @classmethod
    async def build(
        cls,
        template: TemplateClass,
        name: str | None = None,
        *,
        alias: str | None = None,
        tags: list[str] | None = None,
        cpu_count: int | None = None,
        memory_mb: int | None = None,
        min_free_disk_mb: int | None = None,
        skip_cache: bool = False,
        on_build_logs: LogHandler = None,
        **opts: Unpack[ApiParams],
    ) -> BuildInfo:
        """Build a template and wait until sandboxes can be made from it.

        `name`: with a tag or without, as in `web` and `web:v2`; `alias` is its old name. `tags`: further ones.
        `cpu_count` and `memory_mb` (MiB): what a sandbox gets. `min_free_disk_mb`: for servers that give sandboxes
        disks of a size; Sandlot refuses it. `skip_cache`: run every step again. `on_build_logs`: called with every
        line of the log. `request_timeout`: of each request; of an upload, an hour unless given.
        Raises BuildException when a step fails, FileUploadException, TemplateException, InvalidArgumentException.
        """
        options = {"tags": tags, "cpuCount": cpu_count, "memoryMB": memory_mb, "minFreeDiskMb": min_free_disk_mb}
        builds = BuildApi(ConnectionConfig(**cls._resolve(opts)), on_build_logs)
        await builds.log(LogEntryStart(datetime.now(UTC), "Build started"))
        try:
            build = await cls._begin_build(builds, template, name or alias, options, skip_cache, opts)
            await builds.follow(build, template._recipe)
        finally:
            await builds.log(LogEntryEnd(datetime.now(UTC), "Build finished"))
        return build

    @classmethod
    async def build_in_background(
        cls,
        template: TemplateClass,
        name: str | None = None,
        *,
        alias: str | None = None,
        tags: list[str] | None = None,
        cpu_count: int | None = None,
        memory_mb: int | None = None,
        min_free_disk_mb: int | None = None,
        skip_cache: bool = False,
        on_build_logs: LogHandler = None,
        **opts: Unpack[ApiParams],
    ) -> BuildInfo:
        """Let a build begin, and return; `get_build_status` tells of it. Options are those of `build`."""
        options = {"tags": tags, "cpuCount": cpu_count, "memoryMB": memory_mb, "minFreeDiskMb": min_free_disk_mb}
        builds = BuildApi(ConnectionConfig(**cls._resolve(opts)), on_build_logs)
        return await cls._begin_build(builds, template, name or alias, options, skip_cache, opts)

    @classmethod
    async def _begin_build(
        cls,
        builds: BuildApi,
        template: TemplateClass,
        name: str | None,
        options: dict[str, Any],
        skip_cache: bool,
        opts: ApiParams,
    ) -> BuildInfo:
        if not name:
            raise TemplateException("a template needs a name")
        hashes = await offload(hash_files, template)
        build = await builds.request(name, {**options, "tags": options["tags"] or None})
        context = Context(template._context, template._ignore)
        for index, files_hash in hashes.items():
            limit = cls._resolve(opts).get("request_timeout") or UPLOAD_S
            await builds.send_files(build, template._recipe.steps[index], files_hash, context, limit)
        await builds.start(build, template._recipe.to_plan(hashes, force=skip_cache))
        return build

    @classmethod
    async def get_build_status(
        cls, build_info: BuildInfo, logs_offset: int | None = None, **opts: Unpack[ApiParams]
    ) -> TemplateBuildStatusResponse:
        """Tell how far a build is, with at most 100 lines of its log, from `logs_offset` on."""
        return await BuildApi(ConnectionConfig(**cls._resolve(opts))).read_status(build_info, logs_offset)

    @classmethod
    async def exists(cls, name: str, **opts: Unpack[ApiParams]) -> bool:
        """Whether there is a template of this name, and with this tag if one is given; also if it is another's."""
        answer = await cls._call("GET", f"/templates/aliases/{quote(name)}", None, opts, absorb=(403, 404))
        return answer.status != 404

    @classmethod
    async def alias_exists(cls, alias: str, **opts: Unpack[ApiParams]) -> bool:
        """`exists`, by its old name."""
        return await cls.exists(alias, **opts)

    @classmethod
    async def assign_tags(cls, target_name: str, tags: str | list[str], **opts: Unpack[ApiParams]) -> TemplateTagInfo:
        """Give the build that a name with a tag means further tags. Raises TemplateException."""
        body = {"target": target_name, "tags": [tags] if isinstance(tags, str) else tags}
        return (await cls._call("POST", "/templates/tags", body, opts)).parse(parse_tag_info, "assign_tags")

    @classmethod
    async def remove_tags(cls, name: str, tags: str | list[str], **opts: Unpack[ApiParams]) -> None:
        """Take tags from a template. Raises TemplateException."""
        body = {"name": name, "tags": [tags] if isinstance(tags, str) else tags}
        await cls._call("DELETE", "/templates/tags", body, opts)

    @classmethod
    async def get_tags(cls, template_id: str, **opts: Unpack[ApiParams]) -> list[TemplateTag]:
        """List the tags of a template, by its name or id. Raises TemplateException."""
        answer = await cls._call("GET", f"/templates/{quote(template_id)}/tags", None, opts)
        return answer.parse(parse_list(parse_tag), "get_tags")

    @classmethod
    async def _call(cls, method: str, path: str, body: Any, opts: ApiParams, absorb: tuple[int, ...] = ()) -> Answer:
        try:
            return await Api(ConnectionConfig(**cls._resolve(opts))).call(method, path, body, absorb=absorb)
        except SandboxException as error:
            if type(error) is not SandboxException:
                raise
            raise TemplateException(*error.args, status_code=error.status_code) from error
