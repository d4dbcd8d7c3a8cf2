"""What attacks from within a sandbox are made of, and how a defence is switched off to see that they would succeed."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from e2b import Sandbox
from e2b.sandbox.commands.command_handle import CommandExitException

SAY = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as s:
    s.settimeout(2)
    s.sendto(b"well", socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), family)[0][4])
    print(s.recv(100).decode())
"""

ASK = """
import socket, struct, sys
name = b"".join(bytes([len(part)]) + part for part in sys.argv[2].encode().split(b".")) + bytes(1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(3)
    s.sendto(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1), (sys.argv[1], 53))
    answer = s.recv(1000)
sys.exit(0 if struct.unpack("!H", answer[6:8])[0] else 4)
"""

LINGER = """
import http.client, pathlib, ssl, sys, time
context = ssl._create_unverified_context()
kept = http.client.HTTPSConnection(sys.argv[1], timeout=5, context=context)
def get():
    kept.request("GET", "/")
    return kept.getresponse().read().decode().strip()
print(get(), flush=True)
while not pathlib.Path("/tmp/go-on").exists():
    time.sleep(0.05)
kept.auto_open = 0
try:
    print(get(), flush=True)
except (OSError, http.client.HTTPException):
    print("cut", flush=True)
"""
"""Asks for a page, and on the same connection again once it may go on."""


def run(sandbox: Sandbox, command: str) -> str | None:
    """What the command says, run as root; None when it fails."""
    try:
        return sandbox.commands.run(command, user="root", timeout=30).stdout
    except CommandExitException:
        return None


def fetch(sandbox: Sandbox, url: str, *options: str) -> str | None:
    """A page as the sandbox gets it, whoever vouches for it; None when it gets none."""
    return run(sandbox, f"curl -sk --connect-timeout 2 --max-time 8 {' '.join(options)} '{url}'")


def say(sandbox: Sandbox, address: str, port: int) -> str | None:
    """What a server says to a datagram of the sandbox; None when it says nothing."""
    sandbox.files.write("/tmp/say.py", SAY)
    return run(sandbox, f"python3 /tmp/say.py '{address}' {port}")


def ask(sandbox: Sandbox, resolver: str, name: str) -> bool:
    """Whether a resolver tells the sandbox an address of this name."""
    sandbox.files.write("/tmp/ask.py", ASK)
    return run(sandbox, f"python3 /tmp/ask.py {resolver} '{name}'") is not None


@contextlib.contextmanager
def firewall_off(installation: str, *families: str) -> Iterator[None]:
    """Take the installation's rules away for the length of a block."""
    tables = [f"{family} sandlot_{installation}" for family in families or ("inet",)]
    kept = [nft("list", "table", *table.split()) for table in tables]
    for table in tables:
        nft("delete", "table", *table.split())
    try:
        yield
    finally:
        for rules in kept:
            nft(rules)


def nft(*arguments: str) -> str:
    """Run `nft`."""
    return subprocess.run(["nft", *arguments], check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def neighbours_together(bridge: str) -> Iterator[None]:
    """Let the engine, too, pass packets between neighbours for the length of a block."""
    rule = ["FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"]
    subprocess.run(["iptables", "-w", "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-w", "-D", *rule], check=True)
