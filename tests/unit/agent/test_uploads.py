"""POST /files of a real agent."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.agent import Agent, Answer

OCTETS = {"Content-Type": "application/octet-stream"}
FORM = {"Content-Type": "multipart/form-data; boundary=bound"}


def build_form(*parts: tuple[str, bytes], field: str = "file") -> bytes:
    body = b""
    for name, content in parts:
        body += b'--bound\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n' % (
            field.encode(),
            os.fsencode(name),
            content,
        )
    return body + b"--bound--\r\n"


async def put(agent: Agent, path: Path | str, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    target = f"/files?username=user&path={quote(os.fsencode(path))}"
    return await agent.request("POST", target, body, OCTETS | (headers or {}))


async def post(agent: Agent, body: bytes, query: str = "", headers: dict[str, str] | None = None) -> Answer:
    return await agent.request("POST", f"/files?username=user{query}", body, FORM | (headers or {}))


def told(path: Path) -> dict[str, Any]:
    return {"path": str(path), "name": path.name, "type": "file"}


async def test_a_new_file(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "made/on the/way/file"
    answer = await put(agent, path, b"content")
    assert (answer.status, answer.json) == (200, [told(path)])
    assert answer.headers["content-type"] == "application/json"
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    for made in (path, *list(path.parents)[:3]):
        assert (made.stat().st_uid, made.stat().st_gid) == (1000, 1000)
        assert made == path or stat.S_IMODE(made.stat().st_mode) == 0o755
    assert tmp_path.stat().st_uid == 0


async def test_an_existing_file_is_written_in_place(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"much longer than the new content")
    path.chmod(0o600)
    (tmp_path / "link").symlink_to("file")
    before = path.stat()
    answer = await put(agent, tmp_path / "link", b"new")
    assert answer.json == [told(tmp_path / "link")]
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert (after.st_ino, after.st_mode, after.st_uid) == (before.st_ino, before.st_mode, 1000)


async def test_through_a_dangling_link(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    assert (await put(agent, tmp_path / "link", b"x")).status == 200
    assert (tmp_path / "target").read_bytes() == b"x"


async def test_empty_files(agent: Agent, tmp_path: Path) -> None:
    assert (await put(agent, tmp_path / "a", b"")).json == [told(tmp_path / "a")]
    assert (await post(agent, build_form((f"{tmp_path}/b", b"")))).json == [told(tmp_path / "b")]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b""


async def test_a_form_with_a_path(agent: Agent, tmp_path: Path) -> None:
    answer = await post(agent, build_form(("ignored", b"x\r\n--boundary")), f"&path={tmp_path}/file")
    assert answer.json == [told(tmp_path / "file")]
    assert (tmp_path / "file").read_bytes() == b"x\r\n--boundary"


async def test_many_files_at_once(agent: Agent, tmp_path: Path) -> None:
    files = {f"{tmp_path}/{i % 7}/{i}": os.urandom(i * 100) for i in range(50)} | {
        f"{tmp_path}/big": os.urandom(3 << 20)
    }
    answer = await post(agent, build_form(*files.items()))
    assert [one["path"] for one in answer.json] == list(files)
    assert all(Path(path).read_bytes() == content for path, content in files.items())


async def test_file_names_keep_their_folders(agent: Agent) -> None:
    answer = await post(agent, build_form(("deep/down/a", b"1"), ("~/b", b"2"), ("./x/../c", b"3")))
    assert [one["path"] for one in answer.json] == [str(agent.home / name) for name in ("deep/down/a", "b", "c")]


async def test_other_fields_are_skipped(agent: Agent, tmp_path: Path) -> None:
    answer = await post(agent, build_form((f"{tmp_path}/x", b"content"), field="note"))
    assert (answer.status, answer.json) == (200, [])
    assert list(tmp_path.iterdir()) == []
    assert (await post(agent, b"--bound--\r\n")).json == []


async def test_the_same_path_twice(agent: Agent, tmp_path: Path) -> None:
    answer = await post(agent, build_form((f"{tmp_path}/a", b"1"), (f"{tmp_path}/a", b"2")))
    assert answer.status == 400
    assert "multiple files to the same path" in answer.json["message"]
    assert (tmp_path / "a").read_bytes() == b"1"


async def test_chunked_bodies(agent: Agent, tmp_path: Path) -> None:
    async with agent.connect() as wire:
        head = agent.head("POST", f"/files?path={tmp_path}/a", OCTETS | {"Transfer-Encoding": "chunked"})
        await wire.send(head + b"3\r\nabc\r\n")
        await asyncio.sleep(0.05)
        await wire.send(b"2\r\nde\r\n0\r\n\r\n")
        assert (await wire.read_answer("POST")).status == 200
        await wire.send(agent.head("GET", f"/files?path={tmp_path}/a", {}))
        assert (await wire.read_answer()).body == b"abcde"


async def test_gzip(agent: Agent, tmp_path: Path) -> None:
    packed = {"Content-Encoding": "gzip"}
    content = os.urandom(1 << 20) + bytes(1 << 22)
    assert (await put(agent, tmp_path / "a", gzip.compress(content), packed)).status == 200
    assert (tmp_path / "a").read_bytes() == content
    form = build_form((f"{tmp_path}/b", content), (f"{tmp_path}/c", b"x"))
    assert (await post(agent, gzip.compress(form), headers=packed)).status == 200
    assert (tmp_path / "b").read_bytes() == content
    # One member after another, as `cat a.gz b.gz` makes them.
    assert (await put(agent, tmp_path / "d", gzip.compress(b"one") + gzip.compress(b"two"), packed)).status == 200
    assert (tmp_path / "d").read_bytes() == b"onetwo"


NO_GZIP = [b"", b"no gzip", gzip.compress(b"x" * 1000)[:-9], gzip.compress(b"x") + b"junk"]


@pytest.mark.parametrize("body", NO_GZIP, ids=["nothing", "text", "cut off", "junk behind"])
async def test_gzip_that_is_none(agent: Agent, tmp_path: Path, body: bytes) -> None:
    answer = await put(agent, tmp_path / "a", body, {"Content-Encoding": "gzip"})
    assert (answer.status, answer.json["code"]) == (400, 400)
    assert answer.json["message"].startswith("error decompressing request body")


async def test_requests_that_are_wrong(agent: Agent, tmp_path: Path) -> None:
    here = f"&path={tmp_path}/x"
    form = build_form(("x", b"x"))
    for query, body, headers, message in (
        ("", b"x", OCTETS, "path query parameter is required"),
        (here, b"x", {"Content-Type": "application/json"}, "unsupported content type"),
        (here, b"x", {}, "unsupported content type"),
        (here, b"x", OCTETS | {"Content-Encoding": "br"}, "unsupported Content-Encoding"),
        (here, b"x", {"Content-Type": "multipart/form-data"}, "boundary"),
        (here, b"x", FORM, "malformed multipart body"),
        (here, b"", FORM, "malformed multipart body"),
        ("", build_form(("", b"x")), FORM, "no filename"),
        ("&path=~other/x", form, FORM, "~other/x"),
        ("&path=a%00b", form, FORM, "NUL"),
        ("&path=/" + "x" * 300, form, FORM, "too long"),
        ("&path=" + "/x" * 2500, form, FORM, "too long"),
        (f"&path={tmp_path}", form, FORM, "is a directory"),
        ("&path=", b"x", OCTETS, "is a directory"),
        ("&path=/", b"x", OCTETS, "is a directory"),
        ("&path=//", b"x", OCTETS, "is a directory"),
        (f"&path={tmp_path}/new/", b"x", OCTETS, "is a directory"),
        ("&path=/etc/passwd/x", b"x", OCTETS, "is a file"),
        (here, b"x", OCTETS | {"X-Metadata-a": "é"}, "printable ASCII"),
        (here, b"x", OCTETS | {"X-Metadata-a": "x" * 4096}, "more than 4096"),
        (here, b"x", OCTETS | {f"X-Metadata-{'k' * 247}": "x"}, "a key has 1 to 246"),
    ):
        answer = await agent.request("POST", f"/files?username=user{query}", body, dict(headers))
        assert (answer.status, answer.json["code"]) == (400, 400), query
        assert message in answer.json["message"], query
    assert not (tmp_path / "x").exists()
    answer = await agent.request("POST", f"/files?username=nobody-here{here}", b"x", OCTETS)
    assert (answer.status, answer.json["message"]) == (401, "invalid username: 'nobody-here'")


async def test_things_that_are_no_files(agent: Agent, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener, open(os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK), "rb"):
        listener.bind(str(tmp_path / "socket"))
        for name in ("pipe", "socket"):
            answer = await put(agent, tmp_path / name, b"x")
            assert (answer.status, answer.json["message"]) == (400, f"path is not a regular file: {tmp_path}/{name}")
    owner = os.stat("/dev/null").st_uid
    assert (await put(agent, "/dev/null", b"x" * 100_000)).status == 200
    assert os.stat("/dev/null").st_uid == owner


async def test_a_program_that_runs_cannot_be_overwritten(agent: Agent, tmp_path: Path) -> None:
    program = tmp_path / "sleep"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program, "60"]) as running:
        answer = await put(agent, program, b"x")
        running.kill()
    assert (answer.status, "busy" in answer.json["message"]) == (400, True)


async def test_a_name_that_is_not_utf8(agent: Agent, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe")
    answer = await put(agent, tmp_path / name, b"x")
    assert answer.json[0]["name"] == "\ufffd\ufffd"
    assert (await post(agent, build_form((f"{tmp_path}/{name}2", b"y")))).status == 200
    assert sorted(os.listdir(os.fsencode(tmp_path))) == [b"\xff\xfe", b"\xff\xfe2"]


async def test_metadata(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "file"
    answer = await put(agent, path, b"x", {"X-Metadata-Author": "me", "x-metadata-b": "~ !"})
    assert answer.json == [{**told(path), "metadata": {"author": "me", "b": "~ !"}}]
    assert os.getxattr(path, "user.e2b.author") == b"me"
    os.setxattr(path, "user.other", b"stays")
    answer = await post(agent, build_form((str(path), b"y")), headers={"X-Metadata-c": "d"})
    assert answer.json[0]["metadata"] == {"c": "d"}
    assert sorted(os.listxattr(path)) == ["user.e2b.c", "user.other"]
    assert (await put(agent, path, b"z")).json == [told(path)]
    assert os.listxattr(path) == ["user.other"]


async def test_metadata_up_to_the_limit(agent: Agent, tmp_path: Path) -> None:
    key, value = "k" * 246, "v" * 2000
    answer = await put(agent, tmp_path / "a", b"x", {f"X-Metadata-{key}": value})
    assert answer.json[0]["metadata"] == {key: value}


async def test_a_filesystem_without_metadata(agent: Agent) -> None:
    """The kernel's own files take content but no attributes, and tell no true size."""
    path = "/proc/self/oom_score_adj"
    answer = await agent.request("POST", f"/files?path={path}", b"0\n", OCTETS | {"X-Metadata-a": "b"})
    assert (answer.status, answer.json) == (200, [{"path": path, "name": "oom_score_adj", "type": "file"}])


def mount_small_disk(agent: Agent, path: Path, options: str) -> None:
    """Mount a tiny filesystem where only the agent sees it."""
    enter = ("nsenter", "--target", str(agent.pid), "--mount")
    subprocess.run([*enter, "mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)


async def test_a_full_disk(own_agent: Agent, tmp_path: Path) -> None:
    mount_small_disk(own_agent, tmp_path, "size=1m")
    for size in (2 << 20, 5 << 20):
        answer = await put(own_agent, tmp_path / "a", bytes(size))
        assert (answer.status, answer.json["code"]) == (507, 507)
        assert "No space left" in answer.json["message"]
    assert (await put(own_agent, tmp_path / "a", b"fits")).status == 200


async def test_no_inodes(own_agent: Agent, tmp_path: Path) -> None:
    mount_small_disk(own_agent, tmp_path, "nr_inodes=2")
    assert (await put(own_agent, tmp_path / "a", b"x")).status == 200
    assert (await put(own_agent, tmp_path / "b", b"x")).status == 507
    assert (await put(own_agent, tmp_path / "c/d", b"x")).status == 507


async def test_a_read_only_disk(own_agent: Agent, tmp_path: Path) -> None:
    mount_small_disk(own_agent, tmp_path, "ro")
    answer = await put(own_agent, tmp_path / "a", b"x")
    assert (answer.status, "Read-only" in answer.json["message"]) == (403, True)


async def test_a_client_that_leaves_midway_leaves_what_it_sent(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "part"
    for sent in (b"x" * 1000, b"y" * 3_000_000):
        async with agent.connect() as wire:
            await wire.send(agent.head("POST", f"/files?path={path}", OCTETS | {"Content-Length": "9999999"}) + sent)
        await until_content(path, sent)


async def until_content(path: Path, content: bytes) -> None:
    deadline = asyncio.get_running_loop().time() + 5
    while not path.exists() or path.read_bytes() != content:
        assert asyncio.get_running_loop().time() < deadline, "the file never got what was sent"
        await asyncio.sleep(0.02)


async def send_pattern(agent: Agent, path: Path, size: int) -> Answer:
    """Send `size` bytes without ever holding them."""
    chunk = os.urandom(1 << 20)
    async with agent.connect() as wire:
        await wire.send(agent.head("POST", f"/files?path={path}", OCTETS | {"Content-Length": str(size)}))
        for _ in range(size // len(chunk)):
            await wire.send(chunk)
        return await wire.read_answer("POST")


async def test_a_large_file_in_constant_memory_while_others_are_served(own_agent: Agent, tmp_path: Path) -> None:
    sending = asyncio.create_task(send_pattern(own_agent, tmp_path / "big", 300 << 20))
    slowest = 0.0
    while not sending.done():
        started = asyncio.get_running_loop().time()
        assert (await own_agent.request("GET", "/health")).status == 204
        slowest = max(slowest, asyncio.get_running_loop().time() - started)
        await asyncio.sleep(0.02)
    assert (await sending).status == 200
    assert (tmp_path / "big").stat().st_size == 300 << 20
    (tmp_path / "big").unlink()
    status = Path(f"/proc/{own_agent.pid}/status").read_text()
    assert int(status.split("VmHWM:")[1].split()[0]) < 60 * 1024
    assert slowest < 1


async def test_a_bomb_of_gzip_does_not_fill_the_memory(own_agent: Agent, tmp_path: Path) -> None:
    packed = gzip.compress(bytes(128 << 20), 9)
    assert (await put(own_agent, tmp_path / "bomb", packed, {"Content-Encoding": "gzip"})).status == 200
    assert (tmp_path / "bomb").stat().st_size == 128 << 20
    (tmp_path / "bomb").unlink()
    status = Path(f"/proc/{own_agent.pid}/status").read_text()
    assert int(status.split("VmHWM:")[1].split()[0]) < 60 * 1024


async def test_no_descriptor_is_left(own_agent: Agent, tmp_path: Path) -> None:
    async def fail() -> AsyncIterator[int]:
        for body in (b"x", build_form(("/proc/nothing", b"x"))[:-20], b"\r\n--bound"):
            yield (await post(own_agent, body, f"&path={tmp_path}/a")).status

    assert [status async for status in fail()] == [400, 400, 400]
    links = [os.path.realpath(link) for link in Path(f"/proc/{own_agent.pid}/fd").iterdir()]
    assert not [link for link in links if link.startswith(str(tmp_path))]
