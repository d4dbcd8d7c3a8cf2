"""What large files cost the official SDK's HTTP library by itself: at the other end is a bare socket."""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import time
from collections.abc import Callable

import httpx

CHUNK = 1 << 20
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


def measure(data: bytes, runs: int) -> tuple[float, float]:
    """Return median milliseconds of sending the data as the SDK sends files, and of getting as much."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server = multiprocessing.Process(target=_serve, args=(listener, len(data)), daemon=True)
    server.start()
    try:
        with httpx.Client(timeout=120) as client:
            up = _median(lambda: client.post(url, files=[("file", ("large", data))]), runs)
            down = _median(lambda: bytearray(client.get(url).content), runs)
    finally:
        server.terminate()
        server.join()
        listener.close()
    return up, down


def _median(work: Callable[[], object], runs: int) -> float:
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def _serve(listener: socket.socket, size: int) -> None:
    connection, _ = listener.accept()
    block, buffer = bytes(CHUNK), bytearray(CHUNK)
    while head := _read_head(connection):
        if head.startswith(b"GET"):
            connection.sendall(ANSWER % size)
            for _ in range(size // CHUNK):
                connection.sendall(block)
        else:
            left = _read_length(head) - len(head.partition(b"\r\n\r\n")[2])
            while left > 0:
                left -= connection.recv_into(buffer)
            connection.sendall(ANSWER % 0)


def _read_length(head: bytes) -> int:
    lines = head.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    return next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))


def _read_head(connection: socket.socket) -> bytes:
    """Return all up to the empty line, with what came after it in the same moment."""
    head = b""
    while b"\r\n\r\n" not in head:
        if not (more := connection.recv(1 << 16)):
            return b""
        head += more
    return head
