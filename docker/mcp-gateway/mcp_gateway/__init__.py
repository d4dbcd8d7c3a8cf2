"""Starts MCP servers that speak over standard input and output, and serves them as one over HTTP."""
