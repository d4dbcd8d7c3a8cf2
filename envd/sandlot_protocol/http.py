"""Ports, header names and routes that agent, server and client agree on."""

from __future__ import annotations

from typing import Final

ENVD_PORT: Final = 49983
"""TCP port of the agent inside every sandbox."""

ENVD_VERSION: Final = "0.6.13"
"""The envd version whose behaviour the agent has; the SDKs gate features on it."""

SANDBOX_ID_HEADER: Final = "e2b-sandbox-id"
DEBUG_SANDBOX_ID: Final = "debug_sandbox_id"
"""What SDKs in debug mode call the sandbox that they do not know."""

SANDBOX_PORT_HEADER: Final = "e2b-sandbox-port"
ACCESS_TOKEN_HEADER: Final = "x-access-token"  # noqa: S105 - a header's name
TRAFFIC_TOKEN_HEADER: Final = "e2b-traffic-access-token"  # noqa: S105 - a header's name
CONTROL_TOKEN_HEADER: Final = "x-sandlot-control"  # noqa: S105 - a header's name
KEEPALIVE_HEADER: Final = "keepalive-ping-interval"

DEFAULT_KEEPALIVE_S: Final = 90
"""Seconds between keepalive events on a stream whose request does not say."""

CONTROL_ROUTES: Final = frozenset(
    {"/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade", "/tunnel"}
)
"""Agent routes for the control plane alone: the front door refuses them on the agent's port."""

TUNNEL_PROTOCOL: Final = "sandlot-tunnel"
"""`Upgrade` token of the agent's /tunnel route: raw bytes to a port on the sandbox's own loopback."""

BOOT_ID_FILE: Final = "/run/e2b/boot_id"
"""In a sandbox: what the control plane binds over the kernel's own boot id where it can, and the agent writes."""
