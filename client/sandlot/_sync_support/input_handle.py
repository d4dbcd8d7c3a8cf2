"""Input for a command or terminal in one ordered stream."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from sandlot._frames import encode_frame
from sandlot._input import STREAM_INPUT_S, InputKind, input_data, input_start
from sandlot._sync.envd import Envd
from sandlot.exceptions import InvalidArgumentException


class InputStreams:
    """The part of the commands and terminal modules that streams input."""

    _envd: Envd
    _input_kind: InputKind

    def stream_input(self, pid: int, data: Iterable[str | bytes], *, timeout: float | None = STREAM_INPUT_S) -> None:
        """Send everything that `data` gives, as it gives it, and return when the sandbox has taken it.

        `timeout`: seconds it may last, 0 or None for no limit.
        """
        if isinstance(data, str | bytes | bytearray | memoryview):
            raise InvalidArgumentException("data must be an iterable of str or bytes: put a single piece into a list")
        frames = _encode(pid, self._input_kind, data)
        self._envd.send_stream("process.Process/StreamInput", frames, timeout)


def _encode(pid: int, kind: InputKind, data: Iterable[str | bytes]) -> Generator[bytes, None, None]:
    yield encode_frame(input_start(pid))
    for item in data:
        yield encode_frame(input_data(kind, item))
