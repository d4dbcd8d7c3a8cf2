"""What `sandlot template build` makes of a Dockerfile and the files beside it."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from sandlot._context import Context
from sandlot._dockerfile import read_dockerfile
from sandlot.exceptions import DockerfileSyntaxError, InvalidArgumentException, TemplateException

WHOLE = """
# a comment
FROM --platform=linux/amd64 debian:bookworm
LABEL a=b
ARG VERSION=1.2
ENV A=1 B="two words"
ENV OLD the rest of it
RUN apt-get update && \\
    apt-get install -y curl
RUN ["echo", "a b"]
COPY --chown=me:us --chmod=755 one two /srv/
ADD ["with space", "/x y"]
USER web:web
WORKDIR /srv
EXPOSE 80
ENTRYPOINT ["serve"]
CMD ["--port", "80"]
"""


def test_a_whole_dockerfile() -> None:
    recipe = read_dockerfile(WHOLE)
    assert (recipe.image, recipe.start_command) == ("debian:bookworm", "serve --port 80")
    assert [(step.kind, step.args) for step in recipe.steps] == [
        ("USER", ["root"]),
        ("WORKDIR", ["/"]),
        ("ARG", ["VERSION", "1.2"]),
        ("ENV", ["A", "1", "B", "two words"]),
        ("ENV", ["OLD", "the rest of it"]),
        ("RUN", ["apt-get update &&     apt-get install -y curl"]),
        ("RUN", ["echo 'a b'"]),
        ("COPY", ["one", "/srv/", "me:us", "755"]),
        ("COPY", ["two", "/srv/", "me:us", "755"]),
        ("COPY", ["with space", "/x y", "", ""]),
        ("USER", ["web"]),
        ("WORKDIR", ["/srv"]),
    ]


def test_a_sandbox_is_its_users() -> None:
    steps = read_dockerfile("FROM base").steps
    assert [step.args[0] for step in steps] == ["root", "/", "user", "/home/user"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a FROM"),
        ("RUN x", "line 1: RUN comes before FROM"),
        ("FROM a\nFROM b", "line 2: more than one stage"),
        ("FROM a\nRUN --mount=type=cache x", "line 2: RUN --mount=type=cache is not supported"),
        ("FROM a\nCOPY --from=b c d", "line 2: COPY --from is not supported"),
        ("FROM a\nCOPY c", "line 2: COPY needs a source and a target"),
        ("FROM a\nADD http://x/y /z", "line 2: ADD of an address"),
        ("FROM a\nHEALTHCHECK CMD x", "line 2: HEALTHCHECK is not supported"),
        ("ARG V=1\nFROM a:$V", "line 1: ARG before FROM"),
        ("FROM a\nRUN cat <<EOF\nx\nEOF", "here-documents"),
        ("FROM a\nCMD [x", "line 2: .* is not a list"),
    ],
)
def test_what_is_refused_is_named(text: str, message: str) -> None:
    with pytest.raises(DockerfileSyntaxError, match=message):
        read_dockerfile(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("app/main.py", "app/deep/data.txt", "app/cache/x.pyc", "notes.md", "secret.env", "kept.env"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "app/link").symlink_to("main.py")
    (tmp_path / ".dockerignore").write_text("# not these\n**/*.pyc\n*.env\n!kept.env\n/app/deep\n.dockerignore\n")
    return tmp_path


def names(context: Context, folder: Path, source: str) -> list[str]:
    return [str(path.relative_to(folder)) for path in context.find(source)]


def test_what_is_copied_and_what_is_ignored(folder: Path) -> None:
    context = Context(folder)
    assert names(context, folder, "app") == ["app", "app/cache", "app/link", "app/main.py"]
    assert names(context, folder, "app/*") == ["app/cache", "app/link", "app/main.py"]
    assert names(context, folder, "*.env") == ["kept.env"]
    assert names(context, folder, ".") == ["app", "app/cache", "app/link", "app/main.py", "kept.env", "notes.md"]
    for source in ("../x", "app/../../x", "/etc/passwd"):
        with pytest.raises(TemplateException, match="leads out"):
            context.find(source)
    for source in ("nothing", "secret.env"):
        with pytest.raises(InvalidArgumentException, match="matches no file"):
            context.find(source)


def test_what_an_argument_ignores_comes_after_the_file(folder: Path) -> None:
    assert names(Context(folder, ["!secret.env", "app"]), folder, ".") == ["kept.env", "notes.md", "secret.env"]


def test_links_are_followed_when_asked_for(folder: Path) -> None:
    (folder / "app/other").symlink_to("deep")
    context = Context(folder, ["!app/deep"])
    paths = context.find("app", follow=True)
    assert "app/other/data.txt" in [str(path.relative_to(folder)) for path in paths]
    assert context.hash(paths, follow=True) != context.hash(context.find("app"))
    with context.pack(paths, follow=True, compress=False) as file, tarfile.open(fileobj=file, mode="r:") as archive:
        link = archive.extractfile("app/link")
        assert link is not None
        assert link.read() == b"app/main.py"
    (folder / "app/broken").symlink_to("nowhere")
    with pytest.raises(InvalidArgumentException, match="leads to nothing"):
        context.hash(context.find("app", follow=True), follow=True)
    (folder / "app/deep/up").symlink_to("..")
    with pytest.raises(InvalidArgumentException, match="leads back"):
        context.find("app", follow=True)


def test_the_hash_is_of_what_the_files_are(folder: Path) -> None:
    context = Context(folder)
    before = context.hash(context.find("app"), "app", "/srv")
    os.utime(folder / "app/main.py", (1, 1))
    assert context.hash(context.find("app"), "app", "/srv") == before
    assert context.hash(context.find("app"), "app", "/other") != before
    (folder / "app/main.py").write_text("changed")
    assert context.hash(context.find("app"), "app", "/srv") != before


def test_the_archive(folder: Path) -> None:
    context = Context(folder)
    with context.pack(context.find("app")) as file, tarfile.open(fileobj=file) as archive:
        assert archive.getnames() == ["app", "app/cache", "app/link", "app/main.py"]
        assert archive.getmember("app/link").linkname == "main.py"
