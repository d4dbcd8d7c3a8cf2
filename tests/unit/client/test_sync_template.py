# Generated from tests/unit/client/test_async_template.py by sandlot._dev.unasync: change that file, not this one.
"""What the client asks the API for when a template is built, and what it makes of refusals."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sandlot import (
    AuthenticationException,
    BuildException,
    FileUploadException,
    InvalidArgumentException,
    LogEntry,
    LogEntryEnd,
    LogEntryStart,
    ProtocolException,
    Template,
    TemplateBuildStatus,
    TemplateException,
    wait_for_port,
)
from support.fake_server import FakeServer, cut, reply

BUILD = {"templateID": "tpl", "buildID": "one", "names": ["team/web"], "tags": ["default"], "public": False}
STATUS = "/templates/tpl/builds/one/status"
START = "/v2/templates/tpl/builds/one"


def tell(status: str, *messages: str, **reason: Any) -> Any:
    entries = [{"timestamp": "2026-01-02T03:04:05Z", "level": "info", "message": message} for message in messages]
    shown = {"templateID": "tpl", "buildID": "one", "status": status, "logs": [], "logEntries": entries}
    return reply(200, shown | ({"reason": reason} if reason else {}))


@pytest.fixture
def builds(server: FakeServer) -> FakeServer:
    server.on("POST", "/v3/templates", reply(202, BUILD)).on("POST", START, reply(202))
    return server.on("GET", STATUS, tell("building", "one", "two"), tell("ready", "\x1b[32mthree"), tell("ready"))


def test_a_build_asks_for_what_was_written(builds: FakeServer) -> None:
    heard: list[LogEntry] = []
    template = (
        Template()
        .skip_cache()
        .from_image("registry.test/image", "me", "secret")
        .run_cmd(["a", "b"], user="root")
        .set_envs({"A": "1", "B": "$A"})
        .set_start_cmd("serve", wait_for_port(80))
    )
    options: dict[str, Any] = {"tags": ["v2"], "cpu_count": 2, "memory_mb": 512, "min_free_disk_mb": 7}
    build = Template.build(template, "web", on_build_logs=heard.append, **options, **builds.opts)
    assert (build.template_id, build.build_id, build.name, build.alias) == ("tpl", "one", "web", "web")
    asked = {"name": "web", "tags": ["v2"], "cpuCount": 2, "memoryMB": 512, "minFreeDiskMb": 7}
    assert builds.last("/v3/templates").json == asked
    assert builds.last(START).json == {
        "fromImage": "registry.test/image",
        "fromImageRegistry": {"type": "registry", "username": "me", "password": "secret"},
        "startCmd": "serve",
        "readyCmd": '[ -n "$(ss -Htuln sport = :80)" ]',
        "steps": [
            {"type": "RUN", "args": ["a && b", "root"], "force": True},
            {"type": "ENV", "args": ["A", "1", "B", "$A"], "force": True},
        ],
        "force": True,
    }
    assert [type(entry) for entry in (heard[0], heard[-1])] == [LogEntryStart, LogEntryEnd]
    assert [entry.message for entry in heard[2:-1]] == ["one", "two", "three"]
    assert [request.query for request in builds.requests if request.path == STATUS] == [
        "logsOffset=0",
        "logsOffset=2",
        "logsOffset=3",
    ]


def test_files_are_sent_once_and_without_the_key(builds: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/run.sh").write_text("run")
    template = Template(tmp_path).from_base_image().copy("app/*", "/srv/", user="me", mode=0o755, gzip=False)
    asked = json.loads(Template.to_json(template))
    (step,) = asked["steps"]
    assert step["args"] == ["app/*", "/srv/", "me", "0755"]
    link = f"/templates/tpl/files/{step['filesHash']}"
    there = {"present": False, "url": f"{builds.url}/put/here?token=t", "headers": {"X-Kind": "tar"}}
    builds.on("GET", link, reply(201, there), reply(201, {"present": True, "url": f"{builds.url}/put/here"}))
    builds.on("PUT", "/put/here", reply(200))
    Template.build(template, "web", **builds.opts)
    sent = builds.last("/put/here")
    headers = {name.lower(): value for name, value in sent.headers.items()}
    assert (sent.query, headers["x-kind"], headers["content-length"]) == ("token=t", "tar", str(len(sent.body)))
    assert not headers.keys() & {"x-api-key", "transfer-encoding"}
    with tarfile.open(fileobj=io.BytesIO(sent.body), mode="r:") as archive:
        assert archive.getnames() == ["app/run.sh"]
    assert builds.last(START).json == asked
    Template.build_in_background(template, "web", **builds.opts)
    assert builds.count("/put/here") == 1


@pytest.mark.parametrize(
    ("answer", "message"), [(reply(507, b"full"), "refused \\(507\\): full"), (cut(), "not be sent")]
)
def test_files_that_do_not_arrive(builds: FakeServer, tmp_path: Path, answer: Any, message: str) -> None:
    (tmp_path / "file").write_text("x")
    template = Template(tmp_path).from_base_image().copy("file", "/")
    (step,) = json.loads(Template.to_json(template))["steps"]
    link = {"present": False, "url": f"{builds.url}/put"}
    builds.on("GET", f"/templates/tpl/files/{step['filesHash']}", reply(201, link)).on("PUT", "/put", answer)
    with pytest.raises(FileUploadException, match=message):
        Template.build(template, "web", **builds.opts)
    assert builds.count(START) == 0


def test_a_failed_step_is_named_with_where_it_is_written(builds: FakeServer) -> None:
    heard: list[LogEntry] = []
    builds.on("GET", STATUS, tell("error", message="exit status 3", step="2"))
    template = Template().from_base_image().run_cmd("true").run_cmd("exit 3")
    with pytest.raises(BuildException, match=r"^step 2: exit status 3") as caught:
        Template.build(template, "web", on_build_logs=heard.append, **builds.opts)
    (note,) = caught.value.__notes__
    assert note.startswith(f"Step 2 is written in {__file__}:")
    assert isinstance(heard[-1], LogEntryEnd)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(400, {"code": 400, "message": "no such thing"}), BuildException),
        (reply(401, {"code": 401, "message": "who?"}), AuthenticationException),
        (reply(202, {"odd": True}), ProtocolException),
    ],
)
def test_what_is_refused(builds: FakeServer, answer: Any, expected: type[Exception]) -> None:
    builds.on("POST", "/v3/templates", answer)
    with pytest.raises(expected):
        Template.build(Template().from_base_image(), "web", **builds.opts)


def test_what_cannot_be_built_is_not_asked_for(builds: FakeServer, tmp_path: Path) -> None:
    template = Template(tmp_path).from_base_image()
    with pytest.raises(TemplateException, match="needs a name"):
        Template.build(template, **builds.opts)
    with pytest.raises(TemplateException, match="leads out"):
        template.copy("../x", "/")
    with pytest.raises(InvalidArgumentException, match="together"):
        Template().from_image("x", "me")
    with pytest.raises(InvalidArgumentException, match="matches no file"):
        Template.build(template.copy("nothing", "/"), "web", **builds.opts)
    assert builds.requests == []


def test_status_names_and_tags(builds: FakeServer) -> None:
    template = Template().from_template("base")
    build = Template.build_in_background(template, alias="web", **builds.opts)
    assert builds.last(START).json["fromTemplate"] == "base"
    status = Template.get_build_status(build, **builds.opts)
    assert (status.status, len(status.log_entries), status.reason) == (TemplateBuildStatus.BUILDING, 2, None)
    alias = "/templates/aliases/web%3Av1"
    builds.on("GET", alias, reply(404, {}), reply(403, {}), reply(200, {"templateID": "tpl", "public": False}))
    assert [Template.exists("web:v1", **builds.opts) for _ in range(3)] == [False, True, True]
    builds.on("POST", "/templates/tags", reply(201, {"tags": ["a"], "buildID": "one"}))
    assert (Template.assign_tags("web:v1", "a", **builds.opts)).build_id == "one"
    assert builds.last("/templates/tags").json == {"target": "web:v1", "tags": ["a"]}
    builds.on("DELETE", "/templates/tags", reply(204), reply(404, {"code": 404, "message": "not found"}))
    Template.remove_tags("web", ["a", "b"], **builds.opts)
    assert builds.last("/templates/tags").json == {"name": "web", "tags": ["a", "b"]}
    with pytest.raises(TemplateException, match="not found"):
        Template.remove_tags("web", "a", **builds.opts)
    tag = {"tag": "a", "buildID": "one", "createdAt": "2026-01-02T03:04:05Z"}
    builds.on("GET", "/templates/team%2Fweb/tags", reply(200, [tag]))
    assert [each.tag for each in Template.get_tags("team/web", **builds.opts)] == ["a"]
