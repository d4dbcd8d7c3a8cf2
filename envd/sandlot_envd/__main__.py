"""Starts the agent, as PID 1 of a sandbox or as a plain process."""

from __future__ import annotations

import os
import sys

# The agent speaks no TLS; asyncio would load OpenSSL into every sandbox all the same.
sys.modules["ssl"] = None  # type: ignore[assignment]

UMASK = 0o022


def main() -> None:
    """Entry point."""
    if sys.getfilesystemencoding() != "utf-8":
        # An image with another locale, and its data: the names of its files are bytes all the same.
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - itself

    from sandlot_envd.secrecy import hide_memory

    os.umask(UMASK)
    hide_memory()
    token = os.environ.pop("SANDLOT_CONTROL_TOKEN", None)
    port = os.environ.pop("SANDLOT_ENVD_PORT", None)
    # Not for us: whoever looks at processes from outside the sandbox reads it.
    os.environ.pop("SANDLOT_CONTAINER", None)
    if nameserver := os.environ.pop("SANDLOT_NAMESERVER", None):
        _use_nameserver(nameserver)

    import asyncio

    from sandlot_envd.app import run
    from sandlot_protocol.http import ENVD_PORT

    asyncio.run(run(token or None, ENVD_PORT if port is None else int(port)))


def _use_nameserver(address: str) -> None:
    from sandlot_envd.nameserver import use_nameserver

    try:
        use_nameserver(address)
    except OSError as error:
        # Names are then looked up where the engine says, which asks the same resolver.
        print(f"resolv.conf stays as it is: {error}", file=sys.stderr)  # noqa: T201 - before there is a log


if __name__ == "__main__":
    main()
