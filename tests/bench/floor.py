"""What reading a large file costs the official SDK's HTTP library by itself: at the other end is a bare socket."""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import time

import httpx

CHUNK = 1 << 20
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


def measure(size: int, runs: int) -> float:
    """Return median milliseconds of getting so many bytes as the SDK gets files."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server = multiprocessing.Process(target=_serve, args=(listener, size), daemon=True)
    server.start()
    try:
        with httpx.Client(timeout=120) as client:
            return statistics.median(_time_one(client, url) for _ in range(runs))
    finally:
        server.terminate()
        server.join()
        listener.close()


def _time_one(client: httpx.Client, url: str) -> float:
    began = time.perf_counter()
    bytearray(client.get(url).content)
    return (time.perf_counter() - began) * 1000


def _serve(listener: socket.socket, size: int) -> None:
    connection, _ = listener.accept()
    block = bytes(CHUNK)
    while connection.recv(CHUNK):
        connection.sendall(ANSWER % size)
        for _ in range(size // CHUNK):
            connection.sendall(block)
