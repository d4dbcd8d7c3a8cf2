"""All processes that clients started: the running ones, and for a while the ends of those that are gone."""

from __future__ import annotations

from typing import Any

from sandlot_envd.clock import Clock, Timer
from sandlot_envd.errors import BadRequest, NotFound, Unimplemented
from sandlot_envd.fields import read_number, read_text
from sandlot_envd.log import Log
from sandlot_envd.process.process import Process
from sandlot_envd.process.reaper import Reaper

RETENTION_S = 30.0
"""How long the end of a process can still be connected to, in seconds of the sandbox's own time."""


class Registry:
    """Processes by pid."""

    def __init__(self, clock: Clock, reaper: Reaper, log: Log) -> None:
        self._clock = clock
        self._reaper = reaper
        self._log = log
        self._running: dict[int, Process] = {}
        self._ended: dict[int, tuple[Process, Timer]] = {}

    def add(self, process: Process) -> None:
        """Take in a process that was started in this very loop turn."""
        self._forget_predecessors(process)
        self._running[process.pid] = process
        process.on_end = lambda: self._retire(process)
        self._reaper.watch(process.pid, process.exited)
        self._log.write("process started", pid=process.pid, cmd=process.config.get("cmd"))

    def _forget_predecessors(self, process: Process) -> None:
        """Nobody who asks for this process may be told the end of an earlier one with its pid or tag."""
        for ended, _ in list(self._ended.values()):
            if ended.pid == process.pid or (process.tag is not None and ended.tag == process.tag):
                self._forget(ended.pid)

    def _retire(self, process: Process) -> None:
        if self._running.get(process.pid) is process:
            del self._running[process.pid]
            timer = self._clock.call_later(RETENTION_S, lambda: self._forget(process.pid))
            self._ended[process.pid] = (process, timer)
        assert process.end is not None
        self._log.write("process ended", pid=process.pid, status=process.end["end"]["status"])

    def _forget(self, pid: int) -> None:
        if ended := self._ended.pop(pid, None):
            ended[1].cancel()

    def list_running(self) -> list[Process]:
        """All that have not ended, oldest first."""
        return list(self._running.values())

    def find(self, selector: Any) -> Process:
        """Return the running process that a ProcessSelector names; raises NotFound or BadRequest."""
        if not isinstance(selector, dict):
            raise BadRequest("no process selected")
        if selector.get("pid") is not None:
            return self._find_pid(read_number(selector, "pid"))
        if selector.get("tag") is not None:
            return self._find_tag(read_text(selector, "tag"))
        raise Unimplemented("no process selected: neither pid nor tag")

    def _find_pid(self, pid: int) -> Process:
        if pid not in self._running:
            raise NotFound(f"process with pid {pid} not found")
        return self._running[pid]

    def _find_tag(self, tag: str) -> Process:
        for process in self._running.values():
            if process.tag is not None and process.tag == tag:
                return process
        raise NotFound(f"process with tag {tag} not found")

    def find_ended(self, selector: Any) -> Process | None:
        """Return a process that ended a short while ago, by the same selector; None when there is none."""
        if selector.get("pid") is not None:
            ended = self._ended.get(read_number(selector, "pid"))
            return ended[0] if ended else None
        tag = read_text(selector, "tag")
        return next((process for process, _ in reversed(self._ended.values()) if process.tag == tag), None)
