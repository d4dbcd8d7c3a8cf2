"""A program in a real terminal, of tmux, which is installed where it is missing."""

from __future__ import annotations

import shlex
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from support.packages import require


class Terminal:
    """What a person sees and types."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ask(self, *words: str) -> str:
        """Run a tmux command and return what it says."""
        return subprocess.run(["tmux", *words], capture_output=True, text=True, check=True, timeout=20).stdout

    def type(self, text: str, *keys: str) -> None:
        """Type a line, ended with the Enter key or with others."""
        self.ask("send-keys", "-t", self.name, "-l", text)
        self.ask("send-keys", "-t", self.name, *(keys or ("Enter",)))

    def press(self, key: str) -> None:
        """Press one key, as `C-c`."""
        self.ask("send-keys", "-t", self.name, key)

    def shows(self, text: str) -> bool:
        """Whether the screen has this text on it."""
        return text in self.ask("capture-pane", "-p", "-t", self.name)


@contextmanager
def open_terminal(environment: Mapping[str, str], *words: object) -> Iterator[Terminal]:
    """Run a program in a terminal of 100 columns and 30 lines; at its end the screen says `left with` and its code."""
    require(tmux="tmux")
    terminal = Terminal(f"sandlot-{uuid.uuid4().hex[:8]}")
    settings = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
    shown = " ".join(["env", *settings, *(shlex.quote(str(word)) for word in words)])
    size = ("-x", "100", "-y", "30")
    terminal.ask("new-session", "-d", "-s", terminal.name, *size, f"{shown}; echo left with $?; sleep 60")
    try:
        yield terminal
    finally:
        terminal.ask("kill-session", "-t", terminal.name)
