"""`mcp-gateway --config JSON`: returns once the servers answer; the gateway goes on in the background."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from mcp_gateway.configuration import BadConfiguration, Server, parse

TOKEN = Path("/etc/mcp-gateway/.token")
LOG = Path("/var/log/mcp-gateway.log")


def main() -> None:
    """Exit 1 and the reason on standard error when a server cannot be started."""
    arguments = argparse.ArgumentParser(prog="mcp-gateway")
    arguments.add_argument("--config", required=True)
    token = os.environ.get("GATEWAY_ACCESS_TOKEN", "")
    try:
        servers = parse(arguments.parse_args().config)
        if not token:
            raise BadConfiguration("GATEWAY_ACCESS_TOKEN is not set")
        for server in servers:
            server.prepare()
    except BadConfiguration as error:
        sys.exit(str(error))
    _keep(token)
    listener, announcer = os.pipe()
    if os.fork() == 0:
        os.close(listener)
        _serve(servers, token, announcer)
    os.close(announcer)
    if not os.read(listener, 1):
        sys.exit(LOG.read_text()[-4000:] or "the gateway ended before it answered")


def _keep(token: str) -> None:
    TOKEN.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    TOKEN.touch(mode=0o600)
    TOKEN.write_text(token)


def _serve(servers: list[Server], token: str, announcer: int) -> None:
    from mcp_gateway.serving import serve

    os.setsid()
    log = os.open(LOG, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    asyncio.run(serve(servers, token, announcer))
    sys.exit(0)


if __name__ == "__main__":
    main()
