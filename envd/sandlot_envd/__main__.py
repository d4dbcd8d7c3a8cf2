"""Starts the agent, as PID 1 of a sandbox or as a plain process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

# The agent speaks no TLS; asyncio would load OpenSSL into every sandbox all the same.
sys.modules["ssl"] = None  # type: ignore[assignment]

PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """Keep every process of the sandbox, root's too, from tracing the agent or reading its memory."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


async def run() -> None:
    """Serve until the process is killed."""
    from sandlot_envd.app import App
    from sandlot_envd.log import Log
    from sandlot_envd.state import AgentState
    from sandlot_protocol.http import ENVD_PORT

    token = os.environ.pop("SANDLOT_CONTROL_TOKEN", None)
    port = int(os.environ.pop("SANDLOT_ENVD_PORT", ENVD_PORT))
    app = App(AgentState(token or None, Log()))
    port = await app.start(port)
    sys.stdout.write(f"envd listening on {port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    """Entry point."""
    os.umask(0o022)
    hide_memory()
    asyncio.run(run())


if __name__ == "__main__":
    main()
