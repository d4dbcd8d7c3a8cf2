"""The agent's end of a process's input: a pipe, or the keyboard side of a terminal."""

from __future__ import annotations

import asyncio
import os

from sandlot_envd.errors import Internal


class Input:
    """Writes to a non-blocking descriptor, one message after the other, at the pace at which it is read."""

    def __init__(self, fd: int, closed_text: str) -> None:
        self._fd: int | None = fd
        self._closed_text = closed_text
        self._turn = asyncio.Lock()
        self._waiter: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Write all of `data`; raises Internal when nobody can read it any more."""
        async with self._turn:
            rest = memoryview(data)
            while True:
                if self._fd is None:
                    raise Internal(self._closed_text)
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    await self._wait(self._fd)
                except OSError as error:
                    raise Internal(f"error writing to the process: {error.strerror}") from error
                if not rest:
                    return

    async def _wait(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        loop.add_writer(fd, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if self._fd is not None:
                loop.remove_writer(fd)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def finish(self) -> None:
        """Close after everything that is being written."""
        async with self._turn:
            self.close()

    def release(self) -> int | None:
        """Use the descriptor no more, and return it for its owner to close; whoever is writing gets an error."""
        fd, self._fd = self._fd, None
        if fd is not None:
            asyncio.get_running_loop().remove_writer(fd)
            self._wake()
        return fd

    def close(self) -> None:
        """Close at once. Harmless when it is closed."""
        fd = self.release()
        if fd is not None:
            os.close(fd)
