"""A Node process that evaluates code: requests on its standard input, answers on a pipe of their own."""

from __future__ import annotations

import json
import math
import os
import selectors
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("evaluate.js")
CHUNK = 65536
GRACE_S = 3
"""Code that spins after it has waited cannot be interrupted: then the process is ended."""
Show = Callable[[str, str], None]


class Evaluator:
    """Blocks while code runs. An interrupt reaches Node by itself: it is in this process's group."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._start()

    def _start(self) -> None:
        self._answers, theirs = os.pipe()
        environment = {**os.environ, "ANSWERS_FD": str(theirs), "NODE_PATH": "/opt/code-interpreter/node_modules"}
        self._process = subprocess.Popen(
            ["node", PROGRAM, self._language],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(theirs,),
            env=environment,
        )
        os.close(theirs)
        self._selector = selectors.DefaultSelector()
        for pipe, name in ((self._process.stdout, "stdout"), (self._process.stderr, "stderr")):
            self._watch(pipe.fileno(), name)
        self._watch(self._answers, "answer")

    def _watch(self, descriptor: int, name: str) -> None:
        os.set_blocking(descriptor, False)
        self._selector.register(descriptor, selectors.EVENT_READ, name)

    def evaluate(self, code: str, show: Show) -> dict[str, Any]:
        """Return `{}`, `{text}` or `{error: {name, value, traceback}}`; what is printed goes to `show` at once."""
        try:
            self._process.stdin.write(json.dumps(code).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return self._start_anew()
        answer, deadline = b"", math.inf
        while not answer.endswith(b"\n"):
            try:
                answer += self._read_some(show)
            except KeyboardInterrupt:  # Node was interrupted as well, and answers
                deadline = time.monotonic() + GRACE_S
            if time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
            if self._process.poll() is not None:
                answer += self._read_some(show, wait_s=0)
                if not answer.endswith(b"\n"):
                    return self._start_anew()
        # Node writes to pipes at once, so all that the code printed is there by now.
        self._drain(show)
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def _read_some(self, show: Show, wait_s: float = 1) -> bytes:
        answer = b""
        for key, _ in self._selector.select(wait_s):
            data = os.read(key.fd, CHUNK)
            if not data:
                self._selector.unregister(key.fd)
            elif key.data == "answer":
                answer += data
            else:
                show(key.data, data.decode(errors="replace"))
        return answer

    def _drain(self, show: Show) -> None:
        for key in list(self._selector.get_map().values()):
            if key.data == "answer":
                continue
            with suppress(BlockingIOError):
                while data := os.read(key.fd, CHUNK):
                    show(key.data, data.decode(errors="replace"))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        os.close(self._answers)
        self._selector.close()

    def _start_anew(self) -> dict[str, Any]:
        code = self._process.wait()
        self.close()
        self._start()
        value = f"Node has ended with {code}; what was defined is gone"
        return {"error": {"name": "ProcessEnded", "value": value, "traceback": [value]}}
