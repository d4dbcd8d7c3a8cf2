"""Start a sandbox of the base template and one of each that a bundle has brought."""

from __future__ import annotations

import sys

from e2b import Sandbox

COMMANDS = {
    "base": "echo works",
    sys.argv[1]: "cat ~/brought; curl -s localhost:8000/brought",
    "httpbin": "curl -s localhost:8080/status/418 | grep -o teapot",
}

for template, command in COMMANDS.items():
    with Sandbox.create(template, timeout=60) as sandbox:
        print(f"{template}: {sandbox.commands.run(command).stdout.split()}")
