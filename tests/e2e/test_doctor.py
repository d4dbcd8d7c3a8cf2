"""`sandlot doctor` beside a server that runs."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from support.live import SANDLOT, LiveServer

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]


def examine(server: LiveServer) -> str:
    done = subprocess.run(
        [SANDLOT, "doctor"], env={**server.environment, "COLUMNS": "300"}, capture_output=True, timeout=60
    )
    return done.stdout.decode()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("iptables"), reason="changes the host's firewall: as root")
def test_a_firewall_that_keeps_sandboxes_from_the_resolver_is_named(server: LiveServer) -> None:
    assert "ok   names inside: the server's resolver answers sandboxes at" in examine(server)
    rule = ["INPUT", "-i", f"sl-{server.installation[:10]}", "-j", "DROP"]
    subprocess.run(["iptables", "-I", *rule], check=True)
    try:
        told = examine(server)
    finally:
        subprocess.run(["iptables", "-D", *rule], check=True)
    assert "FAIL names inside" in told
    assert f"iptables -I INPUT -i sl-{server.installation[:10]} -j ACCEPT" in told
