"""A watched directory, followed by a task of its own."""

from __future__ import annotations

from sandlot._async.envd import Envd, MessageStream, parse_answer
from sandlot._async.io import OutputHandler, TaskOwner, cancel, deliver, report
from sandlot._frames import Message, encode_frame
from sandlot._watch import build_watch_request
from sandlot._wire import parse_event
from sandlot.config import Username
from sandlot.exceptions import FileNotFoundException, ProtocolException, TimeoutException
from sandlot.models import FilesystemEvent


class AsyncWatchHandle:
    """A watched directory. `stop()` ends the watch; so does the end of its time or of the sandbox."""

    def __init__(
        self,
        events: MessageStream,
        on_event: OutputHandler[FilesystemEvent],
        on_exit: OutputHandler[Exception | None] | None,
        tasks: TaskOwner,
    ) -> None:
        self._events = events
        self._on_event = on_event
        self._on_exit = on_exit
        self._task = tasks.spawn(self._follow())

    async def stop(self) -> None:
        """Stop watching, and return when no callback runs any more."""
        await cancel(self._task)

    async def _follow(self) -> None:
        failure: Exception | None = None
        try:
            async for message in self._events:
                if "filesystem" in message:
                    await self._hand_out(message["filesystem"])
        except Exception as error:  # told to on_exit, callbacks' own errors included
            failure = error
        finally:
            await self._events.aclose()
            if self._on_exit is not None:
                await deliver(self._on_exit, failure)
            elif failure is not None and not isinstance(failure, TimeoutException):
                report("A watched directory is watched no longer, and there is no on_exit to be told", failure)

    async def _hand_out(self, wire: Message) -> None:
        event = parse_answer(parse_event, wire, "filesystem.Filesystem/WatchDir")
        if event is not None:
            await deliver(self._on_event, event)


class Watching:
    """The part of the file system module that watches."""

    _envd: Envd

    async def watch_dir(
        self,
        path: str,
        on_event: OutputHandler[FilesystemEvent],
        on_exit: OutputHandler[Exception | None] | None = None,
        user: Username | None = None,
        request_timeout: float | None = None,
        timeout: float | None = 60,
        recursive: bool = False,
        include_entry: bool = False,
        allow_network_mounts: bool = False,
    ) -> AsyncWatchHandle:
        """Watch a directory and call `on_event`, plain or async, with each event.

        `on_exit` is called once when the watch ends: with the error that ended it, or None after `stop()`.
        `timeout`: seconds the watch lasts, 0 for no limit. `request_timeout`: seconds until it is armed.
        """
        request = build_watch_request(self._envd.version, path, recursive, include_entry, allow_network_mounts)
        events = await self._envd.open_stream(
            "filesystem.Filesystem/WatchDir",
            encode_frame(request),
            user,
            timeout,
            request_timeout,
            FileNotFoundException,
        )
        await _expect_start(events)
        return AsyncWatchHandle(events, on_event, on_exit, self._envd.tasks)


async def _expect_start(events: MessageStream) -> None:
    try:
        first: Message = await anext(events, {})
        if "start" not in first:
            raise ProtocolException(f"Failed to start watch: the stream began with {first!r}")
    except BaseException:
        await events.aclose()
        raise
