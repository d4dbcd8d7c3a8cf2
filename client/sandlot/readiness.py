"""Commands that succeed once what a template starts is ready."""

from __future__ import annotations

import shlex


class ReadyCmd:
    """A command that is run in the sandbox again and again until it succeeds."""

    def __init__(self, cmd: str) -> None:
        self._cmd = cmd

    def get_cmd(self) -> str:
        """Return the command, for a shell."""
        return self._cmd


def wait_for_port(port: int) -> ReadyCmd:
    """Wait until something listens on a TCP or UDP port."""
    return ReadyCmd(f'[ -n "$(ss -Htuln sport = :{port})" ]')


def wait_for_url(url: str, status_code: int = 200) -> ReadyCmd:
    """Wait until a URL is answered with a status."""
    return ReadyCmd(f'[ "$(curl -s -o /dev/null -w "%{{http_code}}" {shlex.quote(url)})" = "{status_code}" ]')


def wait_for_process(process_name: str) -> ReadyCmd:
    """Wait until a process of this name runs."""
    return ReadyCmd(f"pgrep {shlex.quote(process_name)} > /dev/null")


def wait_for_file(filename: str) -> ReadyCmd:
    """Wait until there is a file."""
    return ReadyCmd(f"[ -f {shlex.quote(filename)} ]")


def wait_for_timeout(timeout: int) -> ReadyCmd:
    """Wait for `timeout` milliseconds, in whole seconds and at least one."""
    return ReadyCmd(f"sleep {max(1, timeout // 1000)}")
