"""Templates from images that were not made for sandboxes work as far as what is in them allows."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest
from e2b import BuildException, LogEntry, Sandbox, SandboxException, Template

from support.live import LiveServer
from support.registry import PASSWORD, SERVICE_ACCOUNT, run_registry

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


class Site:
    """Builds templates on a server and starts sandboxes of them."""

    def __init__(self, server: LiveServer) -> None:
        self._server = server
        self.said: list[LogEntry] = []
        self.made: list[Sandbox] = []

    def build(self, template: Template, **options: str) -> str:
        name = f"foreign-{uuid.uuid4().hex[:8]}"
        api = {"api_url": self._server.url, "api_key": self._server.key}
        Template.build(template, name, cpu_count=1, memory_mb=512, on_build_logs=self.said.append, **api, **options)
        return name

    def start(self, template: str) -> Sandbox:
        self.made.append(Sandbox.create(template, timeout=60, **self._server.options))
        return self.made[-1]

    def warnings(self) -> str:
        return "\n".join(entry.message for entry in self.said if entry.level == "warn")


@pytest.fixture
def site(server: LiveServer) -> Iterator[Site]:
    site = Site(server)
    yield site
    for sandbox in site.made:
        sandbox.kill()


@pytest.mark.parametrize("kind", ["musl", "busybox"])
def test_without_bash_files_work_and_commands_say_why_not(images: dict[str, str], site: Site, kind: str) -> None:
    sandbox = site.start(site.build(Template().from_image(images[kind])))
    assert "the image has no bash" in site.warnings()
    written = sandbox.files.write("notes.txt", "content")
    assert (written.path, sandbox.files.get_info("notes.txt").owner) == ("/home/user/notes.txt", "user")
    assert sandbox.files.read("notes.txt") == "content"
    with pytest.raises(SandboxException, match="127"):
        sandbox.commands.run("true")
    with pytest.raises(BuildException, match="failed to run command 'true'"):
        site.build(Template().from_image(images[kind]).run_cmd("true"))


def test_without_anything_there_are_still_files(images: dict[str, str], site: Site) -> None:
    sandbox = site.start(site.build(Template().from_image(images["empty"])))
    assert "the image has no shell" in site.warnings()
    sandbox.files.write("/data/notes.txt", "content")
    assert sandbox.files.read("/data/notes.txt") == "content"
    with pytest.raises(SandboxException):
        sandbox.commands.run("true")


def test_a_user_of_the_images_own_is_not_the_sandboxs(images: dict[str, str], site: Site) -> None:
    sandbox = site.start(site.build(Template().from_image(images["nonroot"]).run_cmd("sudo touch /by-root")))
    assert sandbox.commands.run("whoami; stat -c %U /by-root").stdout.split() == ["user", "root"]


def test_an_image_that_nobody_has(site: Site) -> None:
    with pytest.raises(BuildException, match=r"image '127\.0\.0\.1:9/nothing:1' could not be pulled"):
        site.build(Template().from_image("127.0.0.1:9/nothing:1"))


needs_registry = pytest.mark.skipif(
    os.geteuid() != 0 and not shutil.which("docker-registry"), reason="installs a registry: as root"
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def private_image(images: dict[str, str], client: docker.DockerClient, registry: str) -> Iterator[str]:
    """An image that is in a registry with a password, and not on the engine."""
    name = f"{registry}/private"
    client.images.get(images["musl"]).tag(name, "1")
    client.images.push(name, "1", auth_config={"username": "user", "password": PASSWORD})
    client.images.remove(f"{name}:1")
    yield f"{name}:1"
    with suppress(docker.errors.ImageNotFound):
        client.images.remove(f"{name}:1", force=True)


@needs_registry
def test_an_image_from_a_registry_with_a_password(private_image: str, site: Site) -> None:
    with pytest.raises(BuildException, match=r"could not be pulled: (?s:.*)no basic auth credentials"):
        site.build(Template().from_image(private_image))
    sandbox = site.start(site.build(Template().from_image(private_image, "user", PASSWORD)))
    assert sandbox.files.exists("/bin/sh")


@needs_registry
def test_an_image_from_a_registry_with_a_service_account(private_image: str, site: Site, tmp_path: Path) -> None:
    account = tmp_path / "account.json"
    account.write_text(SERVICE_ACCOUNT)
    template = Template(file_context_path=tmp_path).from_gcp_registry(private_image, str(account))
    sandbox = site.start(site.build(template))
    assert sandbox.files.exists("/bin/sh")


def test_amazons_credentials_are_refused_by_name(site: Site) -> None:
    with pytest.raises(BuildException, match="AWS credentials"):
        site.build(Template().from_aws_registry("a/b:1", "key", "secret", "eu-west-1"))
