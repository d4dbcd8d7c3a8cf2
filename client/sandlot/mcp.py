"""MCP servers that a sandbox can be created with."""

from __future__ import annotations

from typing import Any, TypedDict


class _RunCommand(TypedDict):
    run_cmd: str
    """Starts a server that speaks over standard input and output."""


class GitHubMcpServerConfig(_RunCommand, total=False):
    """How to run an MCP server from a GitHub repository; its key is `github/<owner>/<repo>`."""

    install_cmd: str
    """Run once, in the root of the repository."""
    envs: dict[str, str]


GitHubMcpServer = dict[str, GitHubMcpServerConfig | Any]

McpServer = dict[str, Any]
"""Servers by name, each with its settings; the gateway in the sandbox knows which there are."""
