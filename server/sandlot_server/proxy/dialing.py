"""New connections to the API, to agents and to services in sandboxes."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from sandlot_protocol.http import ENVD_PORT
from sandlot_server.proxy.directory import Endpoint
from sandlot_server.proxy.tunnel import open_tunnel
from sandlot_server.proxy.upstream import Upstream

RETRY_DELAYS_S = (0.1, 0.2, 0.3, 0.4)
"""Pauses between attempts: a service that is just starting gets a second."""
CONNECT_S = 5.0


class PortClosed(Exception):
    """Nothing in the sandbox accepts connections on the port."""


async def dial_api(path: Path, buffer_bytes: int) -> Upstream:
    """Connect to the API's unix socket; raises OSError."""
    loop = asyncio.get_running_loop()
    _, upstream = await loop.create_unix_connection(lambda: Upstream(buffer_bytes), str(path))
    return upstream


async def dial_sandbox(endpoint: Endpoint, port: int, buffer_bytes: int) -> Upstream:
    """Connect to a port of a sandbox, its loopback included; raises PortClosed after five attempts in a second."""
    for delay in (*RETRY_DELAYS_S, None):
        try:
            async with asyncio.timeout(CONNECT_S):
                return await _attempt(endpoint, port, buffer_bytes)
        except TimeoutError:
            break  # packets are dropped, not refused: more attempts would only keep the client waiting
        except OSError:
            if delay is not None:
                await asyncio.sleep(delay)
    raise PortClosed


def is_agent_port(endpoint: Endpoint, port: int) -> bool:
    """Whether requests for this port go to the agent."""
    return port in (ENVD_PORT, endpoint.agent_port)


async def _attempt(endpoint: Endpoint, port: int, buffer_bytes: int) -> Upstream:
    upstream = Upstream(buffer_bytes)
    if is_agent_port(endpoint, port):
        await _connect(upstream, endpoint.address, endpoint.agent_port)
        return upstream
    try:
        await _connect(upstream, endpoint.address, port)
    except TimeoutError:
        raise
    except OSError:
        await open_tunnel(endpoint, port, upstream)
    if port in endpoint.https_ports:
        await _start_tls(upstream, endpoint.address)
    return upstream


async def _connect(upstream: Upstream, address: str, port: int) -> None:
    await asyncio.get_running_loop().create_connection(lambda: upstream, address, port)


async def _start_tls(upstream: Upstream, address: str) -> None:
    """Turn the connection into a TLS one; whatever certificate the service has will do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    plain = upstream.transport
    transport = await asyncio.get_running_loop().start_tls(plain, upstream, context, server_hostname=address)
    if transport is None:
        raise ConnectionResetError("the service closed the connection during the TLS handshake")
    upstream.connection_made(transport)
