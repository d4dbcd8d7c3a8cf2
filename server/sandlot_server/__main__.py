"""`python -m sandlot_server`: the server in the foreground."""

from __future__ import annotations

from sandlot_server.cli import run_server

if __name__ == "__main__":
    run_server()
