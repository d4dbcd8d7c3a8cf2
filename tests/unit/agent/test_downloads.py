"""GET /files of a real agent."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from sandlot_envd.ranges import make_etag
from support.agent import Agent, Answer, basic

SIZE = 400 << 20
BOOT_ID = "/proc/sys/kernel/random/boot_id"


async def get(agent: Agent, path: Path | str | bytes, **headers: str) -> Answer:
    target = f"/files?path={quote(os.fsencode(path))}"
    return await agent.request("GET", target, headers={name.replace("_", "-"): text for name, text in headers.items()})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file small enough to be read at once."""
    file = tmp_path / "small.txt"
    file.write_text("0123456789" * 10)
    return file


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that the kernel copies."""
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(1 << 20) * 3)
    return file


async def test_a_whole_file(agent: Agent, file: Path, large: Path) -> None:
    for path, kind in ((file, "text/plain; charset=utf-8"), (large, "application/octet-stream")):
        answer = await get(agent, path)
        assert answer.status == 200
        assert answer.body == path.read_bytes()
        assert answer.headers["content-type"] == kind
        assert answer.headers["content-disposition"] == f"inline; filename={path.name}"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["etag"] == make_etag(path.stat())
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["last-modified"].endswith("GMT")
        assert answer.headers["content-length"] == str(path.stat().st_size)


async def test_an_empty_file(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for headers in ({}, {"Range": "bytes=0-9"}):
        answer = await get(agent, tmp_path / "empty", **headers)
        assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


async def test_by_head(agent: Agent, large: Path) -> None:
    answer = await agent.request("HEAD", f"/files?path={large}")
    assert answer.status == 200
    assert answer.headers["content-length"] == str(large.stat().st_size)


async def test_parts(agent: Agent, file: Path, large: Path) -> None:
    for path in (file, large):
        content, size = path.read_bytes(), path.stat().st_size
        for header, start, end in (("0-4", 0, 5), ("5-", 5, size), ("-7", size - 7, size), (f"3-{size * 2}", 3, size)):
            answer = await get(agent, path, Range=f"bytes={header}")
            assert answer.status == 206
            assert answer.body == content[start:end]
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        answer = await get(agent, path, Range=f"bytes={size}-")
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}")
        answer = await get(agent, path, Range="bytes=0-1,4-5")
        assert (answer.status, answer.body) == (200, content)


async def test_conditions(agent: Agent, file: Path) -> None:
    first = await get(agent, file)
    etag, changed = first.headers["etag"], first.headers["last-modified"]
    for headers in ({"If_None_Match": etag}, {"If_Modified_Since": changed}):
        answer = await get(agent, file, **headers)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
    assert (await get(agent, file, If_Match='"x"')).status == 412
    file.write_text("something else")
    for headers in ({"If_None_Match": etag}, {"Range": "bytes=0-1", "If_Range": etag}):
        answer = await get(agent, file, **headers)
        assert (answer.status, answer.body) == (200, b"something else")


async def test_gzip_for_those_who_prefer_it(agent: Agent, file: Path, large: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (file, large, tmp_path / "empty"):
        answer = await get(agent, path, Accept_Encoding="gzip")
        assert answer.status == 200
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(answer.body) == path.read_bytes()
        plain = await get(agent, path, Accept_Encoding="gzip, deflate")
        assert "content-encoding" not in plain.headers
        assert plain.body == path.read_bytes()


async def test_conditions_and_parts_are_never_packed(agent: Agent, file: Path) -> None:
    answer = await get(agent, file, Accept_Encoding="gzip", Range="bytes=0-4")
    assert (answer.status, answer.body) == (206, b"01234")
    for headers in (
        {"Accept_Encoding": "gzip; q=1,*; q=0", "Range": "bytes=0-4"},
        {"Accept_Encoding": "identity;q=0"},
        {"Accept_Encoding": "br, *;q=0"},
    ):
        answer = await get(agent, file, **headers)
        assert (answer.status, answer.json["code"]) == (406, 406)


async def test_what_cannot_be_read(agent: Agent, tmp_path: Path, file: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path, status, message in (
        (tmp_path, 400, f"path '{tmp_path}' is a directory"),
        (tmp_path / "missing", 404, f"path '{tmp_path}/missing' does not exist"),
        (file / "below", 404, f"path '{file}/below' does not exist"),
        (tmp_path / "pipe", 400, f"path '{tmp_path}/pipe' is not a regular file"),
        ("/dev/zero", 400, "path '/dev/zero' is not a regular file"),
        ("~other/x", 400, "~other/x"),
        ("a\0b", 400, "NUL"),
        ("/" + "x" * 300, 400, "too long"),
        ("/x" * 2500, 400, "too long"),
        (tmp_path / "loop", 400, "symbolic links"),
        (b"/\xff\xfe", 404, "path '/\ufffd\ufffd' does not exist"),
    ):
        answer = await get(agent, path)
        assert answer.status == status, path
        assert answer.json["code"] == status
        assert message in answer.json["message"]


async def test_whose_home(agent: Agent) -> None:
    (agent.home / "mine").write_text("x")
    for target in ("mine", "~/mine", f"{agent.home}/./mine", "sub/../mine"):
        answer = await agent.request("GET", f"/files?username=user&path={target}")
        assert (answer.status, answer.body) == (200, b"x"), target
    assert (await agent.request("GET", "/files?path=mine", headers=basic("user"))).body == b"x"
    missing = await agent.request("GET", "/files?username=nobody-here&path=mine")
    assert (missing.status, missing.json) == (401, {"code": 401, "message": "invalid username: 'nobody-here'"})
    directory = await agent.request("GET", "/files?username=user")
    assert directory.json["message"] == f"path '{agent.home}' is a directory"


async def test_both_ways_of_writing_a_space(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "a b+c").write_text("x")
    for path in ("a%20b%2Bc", "a+b%2Bc"):
        answer = await agent.request("GET", f"/files?path={tmp_path}/{path}")
        assert answer.body == b"x"
        assert answer.headers["content-disposition"] == 'inline; filename="a b+c"'


async def test_a_name_that_is_not_utf8(agent: Agent, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe\n"
    Path(os.fsdecode(path)).write_text("x")
    answer = await get(agent, path)
    assert answer.body == b"x"
    assert answer.headers["content-disposition"] == "inline; filename*=utf-8''%FF%FE%0A"


async def test_permission_bits_do_not_matter_and_links_are_followed(agent: Agent, tmp_path: Path, file: Path) -> None:
    file.chmod(0)
    (tmp_path / "link").symlink_to(file)
    answer = await get(agent, tmp_path / "link")
    assert answer.body == file.read_bytes()
    assert answer.headers["content-disposition"] == "inline; filename=link"


async def test_files_of_the_kernel(agent: Agent) -> None:
    """Their sizes are wrong: 0 in /proc, a page in /sys."""
    assert b"processor" in (await get(agent, "/proc/cpuinfo")).body
    answer = await get(agent, "/sys/kernel/mm/transparent_hugepage/enabled", Range="bytes=0-3")
    assert (answer.status, answer.body) == (200, Path("/sys/kernel/mm/transparent_hugepage/enabled").read_bytes())


async def test_the_boot_id_is_the_sandboxs_own(own_agent: Agent) -> None:
    real = Path(BOOT_ID).read_bytes()
    assert (await get(own_agent, BOOT_ID)).body == real
    await own_agent.init(bootID="11111111-2222-4333-8444-555555555555")
    for path in (BOOT_ID, f"/{BOOT_ID}", "/proc/sys/../sys/kernel/random/boot_id"):
        assert (await get(own_agent, path)).body == b"11111111-2222-4333-8444-555555555555\n"
    await own_agent.init()
    assert (await get(own_agent, BOOT_ID)).body != real


async def test_a_file_that_shrinks_on_its_way_cuts_the_connection(agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "shrinking"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 30)
    async with agent.connect() as wire:
        await wire.send(agent.head("GET", f"/files?path={file}", {}))
        answer = await wire.read_head()
        assert answer.headers["content-length"] == str(1 << 30)
        os.truncate(file, 0)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await wire.reader.readexactly(1 << 30)
    assert (await get(agent, file)).status == 200


async def test_clients_that_leave_take_their_descriptors_along(own_agent: Agent, large: Path) -> None:
    for encoding in ("identity", "gzip"):
        for _ in range(20):
            async with own_agent.connect() as wire:
                await wire.send(own_agent.head("GET", f"/files?path={large}", {"Accept-Encoding": encoding}))
                await wire.reader.readexactly(100)
    deadline = asyncio.get_running_loop().time() + 5
    while count_open(own_agent, large) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)
    assert count_open(own_agent, large) == 0


def count_open(agent: Agent, path: Path) -> int:
    links = (link for link in Path(f"/proc/{agent.pid}/fd").iterdir())
    return sum(os.path.realpath(link) == str(path) for link in links)


def test_a_large_file_in_constant_memory(own_agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "huge"
    with file.open("wb") as sparse:
        sparse.truncate(SIZE)
    got, buffer = 0, bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", own_agent.port)) as client:
        client.sendall(own_agent.head("GET", f"/files?path={file}", {"Connection": "close"}))
        while size := client.recv_into(buffer):
            got += size
    assert got > SIZE
    assert read_peak_memory(own_agent) < 60 * 1024 * 1024


def read_peak_memory(agent: Agent) -> int:
    status = Path(f"/proc/{agent.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


async def test_a_socket_is_no_file(agent: Agent, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
        assert (await get(agent, tmp_path / "socket")).status == 400
