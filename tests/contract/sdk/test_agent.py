"""The rest of what the official Python SDK can do inside a sandbox: watching, terminals, URLs, metadata, git."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from e2b import (
    AsyncSandbox,
    CommandExitException,
    FilesystemEventType,
    FileType,
    InvalidArgumentException,
    NotFoundException,
    PtySize,
    Sandbox,
    TimeoutException,
)

Kind = type[Sandbox] | type[AsyncSandbox]
both = pytest.mark.parametrize("kind", [Sandbox, AsyncSandbox])

CREATE, WRITE, CHMOD = FilesystemEventType.CREATE, FilesystemEventType.WRITE, FilesystemEventType.CHMOD
RENAME, REMOVE = FilesystemEventType.RENAME, FilesystemEventType.REMOVE


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def sandbox(sdk: dict[str, str]) -> Iterator[Sandbox]:
    """One for all tests here; each works in names of its own."""
    with Sandbox.create(timeout=600) as sandbox:
        yield sandbox


async def of(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def with_form(runner: asyncio.Runner, kind: Kind, sandbox: Sandbox, body: Callable[[Any], Any]) -> None:
    """Run `body` on the sandbox in the form of `kind`."""

    async def run() -> None:
        await body(await of(kind.connect(sandbox.sandbox_id)))

    runner.run(run())


async def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


def test_polled_watcher_sees_what_was_done_before_it_asked(sandbox: Sandbox) -> None:
    sandbox.files.make_dir("polled/deep")
    with_all = sandbox.files.watch_dir("polled", recursive=True)
    flat = sandbox.files.watch_dir("polled")
    sandbox.files.write("polled/a", "x")
    sandbox.files.write("polled/deep/b", "x")
    sandbox.files.rename("polled/a", "polled/c")
    sandbox.files.remove("polled/c")
    seen = [(event.name, event.type) for event in flat.get_new_events() if event.name != "deep"]
    assert seen == [("a", CREATE), ("a", CHMOD), ("a", WRITE), ("a", RENAME), ("c", CREATE), ("c", REMOVE)]
    deep = [event.type for event in with_all.get_new_events() if event.name == "deep/b"]
    assert deep == [CREATE, CHMOD, WRITE]
    assert flat.get_new_events() == []
    flat.stop()
    with_all.stop()


def test_streamed_watcher_enters_folders_made_later(sandbox: Sandbox, runner: asyncio.Runner) -> None:
    async def body(form: AsyncSandbox) -> None:
        seen: list[str] = []
        await form.files.make_dir("streamed")
        handle = await form.files.watch_dir("streamed", on_event=lambda event: seen.append(event.name), recursive=True)
        await form.commands.run("cd streamed; mkdir -p one/two; for i in $(seq 50); do echo x >one/two/$i; done")
        wanted = {f"one/two/{i}" for i in range(1, 51)}
        await until(lambda: wanted <= set(seen), f"all files are told of; missing: {wanted - set(seen)}")
        await handle.stop()

    with_form(runner, AsyncSandbox, sandbox, body)


@both
def test_watching_what_cannot_be_watched(kind: Kind, sandbox: Sandbox, runner: asyncio.Runner) -> None:
    async def body(form: Any) -> None:
        more = {"on_event": lambda _: None} if kind is AsyncSandbox else {}
        with pytest.raises(NotFoundException):
            await of(form.files.watch_dir("/no/such", **more))
        with pytest.raises(InvalidArgumentException):
            await of(form.files.watch_dir("/etc/passwd", **more))

    with_form(runner, kind, sandbox, body)


def test_a_terminal_is_resized_left_and_found_again(sandbox: Sandbox, runner: asyncio.Runner) -> None:
    async def body(form: AsyncSandbox) -> None:
        seen = bytearray()
        first = await form.pty.create(PtySize(rows=24, cols=80), on_data=seen.extend, timeout=60)
        await form.pty.send_stdin(first.pid, b"export MARK=kept; tput cols\n")
        await until(lambda: b"80\r\n" in seen, "the first size shows")
        await first.disconnect()
        await form.pty.resize(first.pid, PtySize(rows=40, cols=132))
        again = bytearray()
        second = await form.pty.connect(first.pid, on_data=again.extend, timeout=60)
        await form.pty.send_stdin(first.pid, b"echo $MARK; tput cols; tput lines\n")
        await until(lambda: b"kept\r\n132\r\n40\r\n" in again, f"the new size shows: {bytes(again)!r}")
        assert await form.pty.kill(first.pid)
        with pytest.raises(CommandExitException):
            await second.wait()
        assert not await form.pty.kill(first.pid)

    with_form(runner, AsyncSandbox, sandbox, body)


@both
def test_a_command_goes_on_without_its_first_listener(kind: Kind, sandbox: Sandbox, runner: asyncio.Runner) -> None:
    async def body(form: Any) -> None:
        first = await of(form.commands.run("read line; echo got $line", background=True, stdin=True))
        await of(first.disconnect())
        second = await of(form.commands.connect(first.pid))
        await of(form.commands.send_stdin(first.pid, "it\n"))
        assert (await of(second.wait())).stdout == "got it\n"

    with_form(runner, kind, sandbox, body)


@both
def test_deadlines_end_commands(kind: Kind, sandbox: Sandbox, runner: asyncio.Runner) -> None:
    async def body(form: Any) -> None:
        with pytest.raises(TimeoutException):
            await of(form.commands.run("sleep 31", timeout=1))
        await until(lambda: not is_running(sandbox, "sleep 31"), "the command was killed")

    with_form(runner, kind, sandbox, body)


def is_running(sandbox: Sandbox, command: str) -> bool:
    return any(command in " ".join(process.args) for process in sandbox.commands.list())


@both
def test_broken_text_and_odd_characters(kind: Kind, sandbox: Sandbox, runner: asyncio.Runner) -> None:
    async def body(form: Any) -> None:
        result = await of(form.commands.run(r"printf 'a\xff\xfeb'"))
        assert result.stdout == "a\ufffd\ufffdb"
        odd = "!@#$%^&*(){}[]|\\;:'\",.<>/?`~ \t ü 漢 🦀"
        await of(form.files.write(f"odd/{odd.replace('/', '')}", odd))
        assert [await of(form.files.read(entry.path)) for entry in await of(form.files.list("odd"))] == [odd]
        await of(form.files.remove("odd"))

    with_form(runner, kind, sandbox, body)


@both
def test_environment_of_commands(kind: Kind, sandbox: Sandbox, runner: asyncio.Runner) -> None:
    async def body(form: Any) -> None:
        result = await of(form.commands.run("echo $A; sudo env | grep -c ^A= || true", envs={"A": "1"}, cwd="/tmp"))
        assert result.stdout == "1\n0\n"
        assert (await of(form.commands.run("pwd", cwd="/tmp"))).stdout == "/tmp\n"
        with pytest.raises(InvalidArgumentException):
            await of(form.commands.run("pwd", cwd="/no/such"))

    with_form(runner, kind, sandbox, body)


@both
def test_metadata_and_compression(kind: Kind, sandbox: Sandbox, runner: asyncio.Runner) -> None:
    async def body(form: Any) -> None:
        written = await of(form.files.write("meta", "text " * 1000, metadata={"author": "me"}, gzip=True))
        assert written.metadata == {"author": "me"}
        assert (await of(form.files.get_info("meta"))).metadata == {"author": "me"}
        assert await of(form.files.read("meta", gzip=True)) == "text " * 1000
        await of(form.files.write("meta", "new"))
        assert not (await of(form.files.get_info("meta"))).metadata

    with_form(runner, kind, sandbox, body)


@both
def test_links_and_listings(kind: Kind, sandbox: Sandbox, runner: asyncio.Runner) -> None:
    async def body(form: Any) -> None:
        await of(
            form.commands.run("mkdir -p tree/b/c; touch tree/a tree/b/c/d; ln -s a tree/link; ln -s gone tree/broken")
        )
        names = [entry.path.removeprefix("/home/user/tree/") for entry in await of(form.files.list("tree", depth=3))]
        assert names == ["a", "b", "b/c", "b/c/d", "link"]
        link = await of(form.files.get_info("tree/link"))
        assert (link.type, link.symlink_target) == (FileType.FILE, "/home/user/tree/a")
        await of(form.files.remove("tree"))

    with_form(runner, kind, sandbox, body)


def test_signed_urls(sandbox: Sandbox) -> None:
    sandbox.files.write("signed file", "by url")
    url = sandbox.download_url("signed file", use_signature_expiration=60)
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.read() == b"by url"
    expired = sandbox.download_url("signed file", use_signature_expiration=-60)
    assert fetch_refusal(expired) == (401, {"code": 401, "message": "signature is already expired"})
    assert fetch_refusal(url.replace("signed", "other"))[0] == 401


def fetch_refusal(url: str) -> tuple[int, Any]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, timeout=20)
    with caught.value as refusal:
        return refusal.code, json.loads(refusal.read())


def test_an_upload_by_signed_url(sandbox: Sandbox) -> None:
    request = urllib.request.Request(sandbox.upload_url("uploaded"), data=b"sent", method="POST")
    request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
    assert sandbox.files.read("uploaded") == "sent"


def test_git(sandbox: Sandbox) -> None:
    sandbox.git.init("repo", initial_branch="main")
    sandbox.files.write("repo/file", "text")
    sandbox.git.add("repo")
    sandbox.git.commit("repo", "first", author_name="A", author_email="a@example.com")
    assert sandbox.git.status("repo").is_clean
    assert sandbox.git.branches("repo").current_branch == "main"


def test_a_killed_sandbox_ends_its_streams_with_the_reason(sdk: dict[str, str]) -> None:
    sandbox = Sandbox.create(timeout=60)
    handle = sandbox.commands.run("sleep 60", background=True)
    sandbox.kill()
    with pytest.raises(TimeoutException, match="killed or reached its end of life"):
        handle.wait()
