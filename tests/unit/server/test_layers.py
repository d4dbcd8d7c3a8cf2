"""What a layer of ours keeps of the files it is made from."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import docker
import pytest

from sandlot_server.runtime.container_config import AGENT_PATH
from sandlot_server.runtime.docker_client import AGENT_LABEL
from sandlot_server.runtime.docker_images import ImageMaker
from sandlot_server.runtime.layers import UnfitLayer, read_xattrs, write_layer

NS = 1_700_000_000_123_456_789


def read_layer(root: Path) -> dict[str, tarfile.TarInfo]:
    out = io.BytesIO()
    write_layer(str(root), out)
    out.seek(0)
    with tarfile.open(fileobj=out, encoding="utf-8", errors="surrogateescape") as archive:
        return {member.name: member for member in archive}


def test_times_xattrs_links_and_odd_names(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a"
    file.parent.mkdir()
    file.write_bytes(b"content")
    os.link(file, tmp_path / "deep" / "b")
    os.symlink("nowhere", tmp_path / "link")
    os.mkfifo(tmp_path / "fifo")
    odd = os.path.join(os.fsencode(tmp_path), b"\xff" * 120)
    Path(os.fsdecode(odd)).touch()
    os.setxattr(file, "user.e2b.author", b"\x00\xff")
    file.chmod(0o4751)
    os.utime(file, ns=(NS, NS))
    members = read_layer(tmp_path)
    kept = members["deep/a"]
    assert (kept.mode, kept.size, kept.uid) == (0o4751, 7, os.getuid())
    assert kept.pax_headers["mtime"] == "1700000000.123456789"
    assert kept.pax_headers["SCHILY.xattr.user.e2b.author"].encode("utf-8", "surrogateescape") == b"\x00\xff"
    assert (members["deep/b"].type, members["deep/b"].linkname) == (tarfile.LNKTYPE, "deep/a")
    assert members["link"].linkname == "nowhere"
    assert members["fifo"].isfifo()
    assert os.fsdecode(b"\xff" * 120) in members
    assert list(members).index("deep") < list(members).index("deep/a")


def test_the_mount_point_of_the_agent_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "opt" / "sandlot").mkdir(parents=True)
    assert list(read_layer(tmp_path)) == ["opt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes whiteouts")
def test_what_was_deleted(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mknod(tmp_path / "etc" / "gone", 0o20000, os.makedev(0, 0))
    (tmp_path / "new").mkdir()
    os.setxattr(tmp_path / "new", "trusted.overlay.opaque", b"y")
    assert set(read_layer(tmp_path)) == {"etc", "etc/.wh.gone", "new", "new/.wh..wh..opq"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sets such xattrs")
def test_files_that_are_kept_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    os.setxattr(tmp_path / "moved", "trusted.overlay.redirect", b"/other")
    with pytest.raises(UnfitLayer):
        read_xattrs(str(tmp_path / "moved"))


@pytest.mark.docker
def test_copying_in_a_container_gives_the_same(tmp_path: Path) -> None:
    client = docker.APIClient(version="auto")
    script = "rm /etc/issue; mkdir /d; echo x > /d/x; setfattr -n user.a -v b /d/x || true; ln /d/x /d/y; sleep 100"
    name = subprocess.check_output(
        ["docker", "run", "-d", "--label", "dev.sandlot.installation=test", "sandlot/base", "sh", "-c", script],
        text=True,
    ).strip()
    try:
        found = client.inspect_container(name)
        upper = found["GraphDriver"]["Data"]["UpperDir"]
        subprocess.run(["docker", "exec", name, "sh", "-c", "until [ -e /d/y ]; do sleep 0.1; done"], check=True)
        volumes = client.volumes(filters={"label": AGENT_LABEL})["Volumes"]
        volume = max(volumes, key=lambda volume: volume["CreatedAt"])["Name"]
        here, there = io.BytesIO(), io.BytesIO()
        write_layer(upper, here)
        ImageMaker(lambda: client, "test", tmp_path).copy_in_container(upper, found["Image"], volume, there)
        assert there.getvalue() == here.getvalue()
        assert AGENT_PATH.encode() not in here.getvalue()
    finally:
        client.remove_container(name, force=True)
        client.close()
