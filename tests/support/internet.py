"""A pretended internet: a network namespace with addresses that look public, and with names, web pages and TLS there.

Nothing real is reached. The host gets routes to these addresses for as long as it lasts; one lasts at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import trustme

NAMESPACE = "sandlot-outside"
LINK = "sl-outside"
FAR_LINK = "sl-outside-far"
NEAR, FAR = "198.18.77.1", "198.18.77.2"
ALLOWED, BELOW, DENIED = "198.51.100.10", "198.51.100.11", "198.51.100.20"
METADATA = "169.254.169.254"
PRIVATE = "10.213.57.80"
RESOLVER = "10.213.57.53"
"""Private, as the resolver of many a site is."""
OTHER_RESOLVER = "8.8.8.8"
ADDRESSES = [ALLOWED, BELOW, DENIED, METADATA, PRIVATE, RESOLVER, "1.1.1.1", "8.8.8.8"]
NAMES = {
    "allowed.test": [ALLOWED],
    "below.allowed.test": [BELOW],
    "denied.test": [DENIED],
    "connectivitycheck.gstatic.com": [ALLOWED],
}
LOCK = Path("/run/sandlot-outside.lock")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Internet:
    """What is outside; `folder` holds its names, what it was asked, and the root certificate that vouches for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.root))
        leaf = authority.issue_cert(*NAMES, *ADDRESSES)
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "leaf.pem"))
        (folder / "addresses").write_text(json.dumps(ADDRESSES))
        for resolver in (RESOLVER, OTHER_RESOLVER):
            (folder / f"asked-{resolver}").touch()
        self.name()

    def name(self, **changes: list[str]) -> None:
        """Let these names mean these addresses, besides those that always do; underscores stand for dots."""
        names = NAMES | {name.replace("_", "."): addresses for name, addresses in changes.items()}
        fresh = self.folder / "names.new"
        fresh.write_text(json.dumps(names))
        fresh.rename(self.folder / "names")

    def list_asked(self, resolver: str = RESOLVER) -> list[str]:
        """Every name that a resolver out there was asked for, in order."""
        return (self.folder / f"asked-{resolver}").read_text().split()


@contextlib.contextmanager
def open_internet(folder: Path) -> Iterator[Internet]:
    """Make one, and take it away at the end; waits while another one lasts."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove()
        try:
            _connect()
            internet = Internet(folder)
            with _serve(folder):
                yield internet
        finally:
            _remove()


def _connect() -> None:
    ip("netns", "add", NAMESPACE)
    ip("link", "add", LINK, "type", "veth", "peer", "name", FAR_LINK, "netns", NAMESPACE)
    ip("addr", "add", f"{NEAR}/30", "dev", LINK)
    ip("link", "set", LINK, "up")
    ip("-n", NAMESPACE, "addr", "add", f"{FAR}/30", "dev", FAR_LINK)
    for link in (FAR_LINK, "lo"):
        ip("-n", NAMESPACE, "link", "set", link, "up")
    ip("-n", NAMESPACE, "route", "add", "default", "via", NEAR)
    for address in ADDRESSES:
        ip("-n", NAMESPACE, "addr", "add", f"{address}/32", "dev", "lo")
        ip("route", "add", f"{address}/32", "via", FAR)


def _remove() -> None:
    """Remove what there is; the host's routes go with its link."""
    for arguments in (["link", "delete", LINK], ["netns", "delete", NAMESPACE]):
        subprocess.run(["ip", *arguments], check=False, capture_output=True)


@contextlib.contextmanager
def _serve(folder: Path) -> Iterator[None]:
    program = [sys.executable, str(Path(__file__).with_name("outside.py")), str(folder), RESOLVER, OTHER_RESOLVER]
    command = ["ip", "netns", "exec", NAMESPACE, *program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()
