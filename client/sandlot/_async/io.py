"""The steps that wait, for asyncio. `_sync_support/io.py` has the same ones for threads.

Sockets are plain ones that no event loop owns between two steps: the pool outlives a loop, and an idle
connection needs no loop to be closed.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from sandlot._addresses import SocketAddress, known_addresses, tune

T = TypeVar("T")

OutputHandler = Callable[[T], None] | Callable[[T], Awaitable[None]]
"""A callback, plain or async."""

TOGETHER = 16

sleep = asyncio.sleep


async def resolve(host: str, port: int, timeout: float | None) -> list[SocketAddress]:
    """Return the addresses of a host. Raises OSError when it has none, TimeoutError after `timeout` seconds."""
    if addresses := known_addresses(host, port):
        return addresses
    async with asyncio.timeout(timeout):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


async def connect(address: SocketAddress, timeout: float | None) -> socket.socket:
    """Open a TCP connection. Raises OSError, TimeoutError."""
    family, sockaddr = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        tune(sock)
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(sock, sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


async def receive(sock: socket.socket, size: int, timeout: float | None) -> bytes:
    """Return up to `size` bytes, none at the end of the stream. Raises OSError, TimeoutError."""
    try:
        return sock.recv(size)
    except BlockingIOError:
        pass
    async with asyncio.timeout(timeout):
        return await asyncio.get_running_loop().sock_recv(sock, size)


async def send_some(sock: socket.socket, data: memoryview, timeout: float | None) -> int:
    """Write what fits and return how much; 0 when nothing does and the peer has spoken instead of reading.

    Raises OSError, TimeoutError.
    """
    try:
        return sock.send(data)
    except BlockingIOError:
        pass
    async with asyncio.timeout(timeout):
        await _wait_for_room(sock)
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0


async def _wait_for_room(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(sock, ready.set)
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(sock)
        loop.remove_reader(sock)


async def offload(function: Callable[..., T], *args: object) -> T:
    """Run something that blocks, such as reading a file, without holding up the event loop."""
    return await asyncio.to_thread(function, *args)


async def deliver(handler: OutputHandler[T], value: T) -> None:
    """Call a callback and, if it is an async one, wait for it."""
    result = handler(value)
    if inspect.isawaitable(result):
        await result


async def gather(function: Callable[[T], Awaitable[None]], items: list[T]) -> None:
    """Await `function` of each item, several at once. The first failure cancels the others and is raised."""
    slots = asyncio.Semaphore(TOGETHER)

    async def run(item: T) -> None:
        async with slots:
            await function(item)

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(run(item))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end, unless it is the one that asks for it."""
    await asyncio.sleep(0)  # one that has not begun would never clean up
    task.cancel()
    if asyncio.current_task() is task:
        await asyncio.sleep(0)  # raises CancelledError
    else:
        await asyncio.wait([task])


def report(message: str, error: Exception, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Tell the event loop's exception handler, which logs, of an error that nobody waits for."""
    (loop or asyncio.get_running_loop()).call_exception_handler({"message": message, "exception": error})


class TaskOwner:
    """Holds the tasks that follow something in the background, until they end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` in the background."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
