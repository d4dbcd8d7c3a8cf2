# Generated from client/sandlot/_async/builds.py by sandlot._dev.unasync: change that file, not this one.
"""The API's calls that a template build is made of."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import IO, Any
from urllib.parse import urlsplit

from sandlot._build_wire import parse_build, parse_link, parse_status
from sandlot._context import Context, measure
from sandlot._errors import read_message
from sandlot._http import Deadline, TransportError, quote
from sandlot._recipe import Recipe, Step
from sandlot._sync.api import Answer, Api
from sandlot._sync.session import Call, Session
from sandlot._sync.transport import Limits, SizedBody
from sandlot._sync.uploads import read_pieces
from sandlot._sync_support.io import OutputHandler, deliver, offload, sleep
from sandlot.config import ConnectionConfig
from sandlot.exceptions import BuildException, FileUploadException, SandboxException
from sandlot.template_models import (
    BuildInfo,
    LogEntry,
    TemplateBuildStatus,
    TemplateBuildStatusResponse,
)

UPLOAD_S = 3600.0
POLL_S = 0.2

LogHandler = OutputHandler[LogEntry] | None


class BuildApi:
    """Builds of templates on one server. What the API refuses is raised as BuildException."""

    def __init__(self, config: ConnectionConfig, on_log: LogHandler = None) -> None:
        self._config = config
        self._api = Api(config)
        self._on_log = on_log

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, str] | None = None,
        error: type[BuildException] = BuildException,
    ) -> Answer:
        try:
            return self._api.call(method, path, body, query)
        except SandboxException as refused:
            if type(refused) is not SandboxException:
                raise
            raise error(*refused.args) from refused

    def log(self, entry: LogEntry) -> None:
        """Hand an entry to whoever listens."""
        if self._on_log is not None:
            deliver(self._on_log, entry)

    def _tell(self, message: str) -> None:
        self.log(LogEntry(datetime.now(UTC), "info", message))

    def request(self, name: str, options: dict[str, Any]) -> BuildInfo:
        """Ask for a build."""
        given = {key: value for key, value in options.items() if value is not None}
        answer = self._call("POST", "/v3/templates", {"name": name, **given})
        build = answer.parse(partial(parse_build, name=name), "a build")
        self._tell(f"Template created with ID: {build.template_id}, Build ID: {build.build_id}")
        return build

    def send_files(self, build: BuildInfo, step: Step, files_hash: str, context: Context, limit: float) -> None:
        """Send the files of a COPY step, unless the server has them. `limit`: seconds.

        Raises FileUploadException.
        """
        path = f"/templates/{quote(build.template_id)}/files/{files_hash}"
        answer = self._call("GET", path, error=FileUploadException)
        link = answer.parse(parse_link, "an upload link")
        if link.url is None or (link.present and not step.force_upload):
            self._tell(f"'{step.args[0]}' is there already")
            return
        paths = offload(partial(context.find, step.args[0], follow=step.resolve_symlinks))
        packed = offload(partial(context.pack, paths, follow=step.resolve_symlinks, compress=step.gzip))
        with packed as file:
            self._put(file, link.url, link.headers, step.args[0], limit)
        self._tell(f"Uploaded '{step.args[0]}'")

    def _put(self, file: IO[bytes], url: str, headers: dict[str, str], source: str, limit: float) -> None:
        # Nothing but what the link came with: it may lead to another server, whom our key is no business of.
        base, target = split_url(url)
        session = Session(base, {}, self._config.proxy, self._config.logger)
        call = Call("PUT", target, None, headers, SizedBody(measure(file), read_pieces(file)))
        try:
            response = session.send(call, Limits(Deadline(limit)))
            text = response.read()
        except TransportError as error:
            raise FileUploadException(f"'{source}' could not be sent: {error}") from error
        if response.status >= 300:
            raise FileUploadException(f"'{source}' was refused ({response.status}): {read_message(None, text)[:500]}")

    def start(self, build: BuildInfo, plan: dict[str, Any]) -> None:
        """Let a build begin."""
        self._call("POST", f"/v2/templates/{quote(build.template_id)}/builds/{quote(build.build_id)}", plan)

    def read_status(self, build: BuildInfo, offset: int | None) -> TemplateBuildStatusResponse:
        """Tell how far a build is, with what it has said since the offset."""
        path = f"/templates/{quote(build.template_id)}/builds/{quote(build.build_id)}/status"
        answer = self._call("GET", path, query=None if offset is None else {"logsOffset": str(offset)})
        return answer.parse(parse_status, "a build's status")

    def follow(self, build: BuildInfo, recipe: Recipe) -> None:
        """Return when a build is ready, having handed on all that it said; raise BuildException when it fails."""
        offset = 0
        while True:
            status = self.read_status(build, offset)
            offset += len(status.log_entries)
            for entry in status.log_entries:
                self.log(entry)
            over = status.status in (TemplateBuildStatus.READY, TemplateBuildStatus.ERROR)
            if over and not status.log_entries:
                break
            if not over:
                sleep(POLL_S)
        if status.status is TemplateBuildStatus.ERROR:
            raise explain_build(status, recipe)


def split_url(url: str) -> tuple[str, str]:
    """Return a URL's base, and its path with the query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def explain_build(status: TemplateBuildStatusResponse, recipe: Recipe) -> BuildException:
    """Return the exception for a build that failed."""
    reason = status.reason
    if reason is None:
        return BuildException("the build failed")
    error = BuildException(f"step {reason.step}: {reason.message}" if reason.step else reason.message)
    if origin := recipe.find_origin(reason.step):
        error.add_note(f"Step {reason.step} is written in {origin}")
    return error
