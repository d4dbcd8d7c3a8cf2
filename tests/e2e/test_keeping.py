"""What a pause and a snapshot keep, on real containers: time that stands still, and files in every detail."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from e2b import Sandbox

from support.live import LiveServer, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]

MAKE = r"""
cd ~; echo text > a; ln a b; touch -d '2020-01-02 03:04:05.123456789' a
sudo touch owned; sudo chown 33:44 owned; sudo chmod 4755 owned
cp /bin/true able; sudo setcap cap_net_bind_service+ep able
truncate -s 20M hole; mkfifo pipe; ln -s a link; mkdir -m 1777 sticky
python3 -c "import os; os.setxattr('a', 'user.k', bytes([0, 255]))"
sudo rm -r /etc/skel; sudo mkdir /etc/skel; sudo touch /etc/skel/new; sudo rm /etc/issue
"""
SHOW = r"""
cd ~; stat -c '%n %F %h %u:%g %a %s %Y' a b owned able hole pipe link sticky; stat -c %y a owned
[ a -ef b ] && echo one file; readlink link; md5sum a hole; sudo getcap able
python3 -c "import os; print(os.getxattr('b', 'user.k'))"
ls -A /etc/skel; ls /etc/issue 2>&1; true
"""


def test_a_snapshot_keeps_files_in_every_detail(create: Callable[..., Sandbox], sandbox: Sandbox) -> None:
    sandbox.files.write("told", "x", metadata={"author": "somebody"})
    sandbox.commands.run(MAKE)
    before = sandbox.commands.run(SHOW).stdout
    assert "123456789" in before
    snapshot = sandbox.create_snapshot()
    copy = create(template=snapshot.snapshot_id)
    assert copy.commands.run(SHOW).stdout == before
    assert copy.files.get_info("told").metadata == {"author": "somebody"}
    assert sandbox.commands.run(SHOW).stdout == before


def test_a_deadline_waits_for_who_is_paused(sandbox: Sandbox, server: LiveServer) -> None:
    """A command may run for 4 seconds; paused for longer than that it goes on, and has the rest of its time."""
    started = sandbox.commands.run("sleep 100", background=True, timeout=4)
    sandbox.pause()
    time.sleep(4.5)  # more than its whole time
    again = Sandbox.connect(sandbox.sandbox_id, timeout=120, **server.options)

    def runs() -> bool:
        return started.pid in [process.pid for process in again.commands.list()]

    assert runs()
    wait_until(lambda: not runs(), "its time is over", 10)
