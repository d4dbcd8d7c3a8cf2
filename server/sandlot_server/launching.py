"""Start commands: what a template runs in every sandbox before anybody has asked for anything."""

from __future__ import annotations

import asyncio
import logging

from sandlot_server.errors import AgentError
from sandlot_server.models import Start
from sandlot_server.shell import Exit, Shell

log = logging.getLogger(__name__)

READY_S = 600
"""E2B's own limit for a ready command."""
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2


async def launch(shell: Shell, start: Start) -> None:
    """Run the start command, and return once the ready command succeeds; raises AgentError.

    The command goes on running, and is listed with the sandbox's other commands.
    """
    if start.command:
        await shell.start(start.command, start.context)
    if start.ready:
        await wait_until_ready(shell, start)


async def wait_until_ready(shell: Shell, start: Start) -> None:
    """Try the ready command until it succeeds; raises AgentError when it does not within READY_S seconds."""
    pause, last = FIRST_PAUSE_S, Exit(0, "never ended")
    try:
        async with asyncio.timeout(READY_S):
            while (last := await shell.run(start.ready, start.context)).code != 0:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
    except TimeoutError as error:
        raise AgentError(f"the ready command did not succeed within {READY_S} s ({last.status})") from error
