"""The `mcp-gateway` command.

mcp-gateway --config JSON       start these servers; returns once they answer, and goes on in the background
mcp-gateway add NAME COMMAND    have a server in this template: a shell command that speaks on its standard streams
mcp-gateway pull NAME…          see that this template has these servers
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from pathlib import Path

from mcp_gateway.configuration import BadConfiguration, Server, add, find_command, parse

TOKEN = Path("/etc/mcp-gateway/.token")
LOG = Path("/var/log/mcp-gateway.log")
SHOWN = 4000


def main() -> None:
    """Exit 1 with the reason on standard error when something cannot be done."""
    try:
        match sys.argv[1:]:
            case ["--config", text]:
                _start(parse(text))
            case ["add", name, command]:
                add(name, command)
            case ["pull", *names]:
                for name in names:
                    find_command(name)
            case _:
                sys.exit(str(__doc__))
    except BadConfiguration as error:
        sys.exit(str(error))


def _start(servers: list[Server]) -> None:
    token = os.environ.get("GATEWAY_ACCESS_TOKEN")
    if not token:
        raise BadConfiguration("GATEWAY_ACCESS_TOKEN is not set")
    for server in servers:
        server.prepare()
    _keep(token)
    listener, announcer = os.pipe()
    if os.fork() == 0:
        os.close(listener)
        _serve(servers, token, announcer)
    os.close(announcer)
    if told := os.read(listener, SHOWN).decode(errors="replace"):
        if told != "ready":
            raise BadConfiguration(told)
    else:
        raise BadConfiguration(f"the gateway ended: {LOG.read_text()[-SHOWN:]}")


def _keep(token: str) -> None:
    TOKEN.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    TOKEN.touch(mode=0o600)
    TOKEN.write_text(token)


def _serve(servers: list[Server], token: str, announcer: int) -> None:
    from mcp_gateway.serving import serve

    os.setsid()
    log = os.open(LOG, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        asyncio.run(serve(servers, token, announcer))
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    # Not sys.exit: what the parent has begun is not ours to end.
    os._exit(0)


if __name__ == "__main__":
    main()
