"""Start a sandbox of the base template and one of the template that a bundle has brought."""

from __future__ import annotations

import sys

from e2b import Sandbox

for template, command in (("base", "echo works"), (sys.argv[1], "cat ~/brought; curl -s localhost:8000/brought")):
    with Sandbox.create(template, timeout=60) as sandbox:
        print(f"{template}: {sandbox.commands.run(command).stdout.split()}")
