"""Asks for MCP servers and uses their tools, as a program of a user does; prints what it got as JSON.

Usage: use_mcp.py TEMPLATE CONFIGURATION; the endpoint and key come from the environment.
"""

from __future__ import annotations

import asyncio
import json
import sys

import httpx
from e2b import AsyncSandbox
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def main(template: str, configuration: str) -> dict[str, object]:
    sandbox = await AsyncSandbox.create(template, timeout=120, mcp=json.loads(configuration))
    try:
        url, token = sandbox.get_mcp_url(), await sandbox.get_mcp_token()
        again = await AsyncSandbox.connect(sandbox.sandbox_id)
        async with httpx.AsyncClient() as client:
            refused = await client.post(url, headers={"Authorization": "Bearer another"}, json={})
        async with (
            streamablehttp_client(url, headers={"Authorization": f"Bearer {token}"}) as (reader, writer, _),
            ClientSession(reader, writer) as session,
        ):
            await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            greeting = await session.call_tool("greet", {"name": "you"})
            configured = await session.call_tool("show_configuration", {})
        return {
            "tools": sorted(tools),
            "greeting": greeting.content[0].text,
            "configured": configured.content[0].text,
            "refused": refused.status_code,
            "kept": await again.get_mcp_token() == token,
        }
    finally:
        await sandbox.kill()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
