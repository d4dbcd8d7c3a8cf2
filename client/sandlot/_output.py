"""A command's output as it arrives: decoded, kept, and at its end made into a result."""

from __future__ import annotations

import codecs
from binascii import a2b_base64
from typing import Generic, cast

from ._frames import Message
from .exceptions import ProtocolException
from .models import CommandExitException, CommandResult, OutputT

Output = tuple[str | None, str | None, bytes | None]
"""Exactly one of stdout, stderr and terminal output."""

_DECODER = codecs.getincrementaldecoder("utf-8")


class OutputLog(Generic[OutputT]):
    """What one command has written so far; with `retain=False` nothing of it is kept."""

    def __init__(self, retain: bool) -> None:
        self.kept: list[Output] | None = [] if retain else None
        self.result: CommandResult[OutputT] | None = None
        self._stdout = _DECODER("replace")
        self._stderr = _DECODER("replace")

    @property
    def stdout(self) -> OutputT:
        """Standard output so far."""
        return self._join(0)

    @property
    def stderr(self) -> OutputT:
        """Standard error so far."""
        return self._join(1)

    def _join(self, index: int) -> OutputT:
        if self.kept is None:
            return cast("OutputT", None)
        return cast("OutputT", "".join(str(output[index]) for output in self.kept if output[index] is not None))

    def feed(self, message: Message) -> list[Output]:
        """Take a message of the command's stream and return the output in it. Raises ProtocolException."""
        event = message.get("event")
        if not isinstance(event, dict):
            raise ProtocolException(f"a command's stream has no event in {message!r}")
        if "end" in event:
            return self._finish(event["end"])
        return self._keep(self._decode(event["data"])) if "data" in event else []

    def _decode(self, data: Message) -> list[Output]:
        try:
            outputs: list[Output] = [
                (self._stdout.decode(_decode_bytes(data.get("stdout"))) or None, None, None),
                (None, self._stderr.decode(_decode_bytes(data.get("stderr"))) or None, None),
                (None, None, _decode_bytes(data.get("pty")) or None),
            ]
        except (ValueError, TypeError, AttributeError) as error:
            raise ProtocolException(f"a command's output is not base64: {error}") from error
        return [output for output in outputs if output != (None, None, None)]

    def _keep(self, outputs: list[Output]) -> list[Output]:
        if self.kept is not None:
            self.kept += [output for output in outputs if output[2] is None]
        return outputs

    def flush(self) -> list[Output]:
        """Return what an unfinished character at the end of the output stands for."""
        outputs: list[Output] = [
            (self._stdout.decode(b"", final=True) or None, None, None),
            (None, self._stderr.decode(b"", final=True) or None, None),
        ]
        return self._keep([output for output in outputs if output != (None, None, None)])

    def _finish(self, end: Message) -> list[Output]:
        rest = self.flush()
        self.result = CommandResult(self.stderr, self.stdout, int(end.get("exitCode", 0)), end.get("error"))
        return rest

    def conclude(self) -> CommandResult[OutputT]:
        """Return the result. Raises CommandExitException for an exit code other than zero."""
        if self.result is None:
            raise ProtocolException("The command's stream ended without telling how the command ended")
        if self.result.exit_code != 0:
            result = self.result
            raise CommandExitException(result.stderr, result.stdout, result.exit_code, result.error)
        return self.result


def _decode_bytes(text: str | None) -> bytes:
    return a2b_base64(text, strict_mode=True) if text else b""


def read_start(message: Message, action: str) -> int:
    """Return the pid of a stream's first message. Raises ProtocolException."""
    try:
        return int(message["event"]["start"]["pid"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolException(f"Failed to {action}: the stream began with {message!r}") from error
