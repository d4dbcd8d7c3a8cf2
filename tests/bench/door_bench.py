"""The front door beside a direct connection and beside the least that frames every request, in one run.

    python tests/bench/door_bench.py [--seconds 3] [--megabytes 256] [--rounds 2]

Every server is a process of its own. With `wrk`, `haproxy` or `caddy` on PATH they are used as load and as rivals;
without `wrk` a client of this file makes the load, which is slower than the servers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httptools
import uvloop

from sandlot_server.proxy.directory import Endpoint, WakeRequest
from sandlot_server.proxy.door import FrontDoor

SANDBOX = "ibench0000000000000ab"
HEADERS = [
    ("E2b-Sandbox-Id", SANDBOX),
    ("E2b-Sandbox-Port", "49983"),
    ("X-Access-Token", "0123456789abcdef" * 4),
    ("User-Agent", "e2b-python-sdk/2.63.0"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip, deflate"),
]
SMALL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"ok": true}\n'
BLOCK = b"x" * (256 * 1024)


class Backend(asyncio.Protocol):
    """The cheapest server that can be: finds the end of a head, counts a body."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.left, self.sending, self.data = transport, 0, 0, b""

    def data_received(self, data: bytes) -> None:
        while data:
            if self.left:
                used = min(self.left, len(data))
                self.left, data = self.left - used, data[used:]
                if not self.left:
                    self.transport.write(SMALL)
                continue
            self.data += data
            head, found, data = self.data.partition(b"\r\n\r\n")
            if not found:
                return
            self.data = b""
            self.answer(head)

    def answer(self, head: bytes) -> None:
        if head.startswith(b"POST"):
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length is not None
            self.left = int(length[1])
        elif head.startswith(b"GET /big/"):
            self.sending = int(head[9 : head.index(b" HTTP")])
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.sending)
            self.resume_writing()
        else:
            self.transport.write(SMALL)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        while self.sending and not self.paused:
            block = BLOCK[: self.sending]
            self.sending -= len(block)
            self.transport.write(block)


class SpliceUpstream(asyncio.Protocol):
    """Upstream half of the least that frames every request: httptools on both sides, one fixed upstream."""

    def __init__(self, client: SpliceClient) -> None:
        self.client = client

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        self.client.complete()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        self.client.transport.write(data)

    def pause_writing(self) -> None:
        self.client.transport.pause_reading()

    def resume_writing(self) -> None:
        self.client.transport.resume_reading()


class SpliceClient(asyncio.Protocol):
    """Client half: knows where each request begins and ends, and reads the sandbox's id."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.upstream: SpliceUpstream | None = None
        self.waiting: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.headers: dict[bytes, bytes] = {}
        self.task = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, self.upstream = await loop.create_connection(lambda: SpliceUpstream(self), "127.0.0.1", self.port)
        for data in self.waiting:
            self.upstream.transport.write(data)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.target = (self.headers.get(b"e2b-sandbox-id"), self.headers.get(b"e2b-sandbox-port"))

    def on_message_complete(self) -> None:
        self.headers = {}

    def complete(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        assert self.upstream is not None
        self.upstream.parser = httptools.HttpResponseParser(self.upstream)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if self.upstream is None:
            self.waiting.append(data)
        else:
            self.upstream.transport.write(data)

    def pause_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.upstream is not None:
            self.upstream.transport.close()


class OneSandbox:
    """A directory of one sandbox."""

    def __init__(self, port: int) -> None:
        self.endpoint = Endpoint(SANDBOX, "127.0.0.1", port, "control", "token", None)

    def find(self, sandbox_id: str) -> Endpoint | None:
        return self.endpoint if sandbox_id == SANDBOX else None

    def find_only(self) -> Endpoint | None:
        return self.endpoint

    async def wake(self, sandbox_id: str, request: WakeRequest) -> Endpoint | None:
        return None

    def find_by_signature(self, *_: object) -> Endpoint | None:
        return None


async def serve(kind: str, backend: int) -> None:
    """Run one of the servers; prints its port."""
    loop = asyncio.get_running_loop()
    if kind == "door":
        port = await FrontDoor(OneSandbox(backend), api=Path("/nowhere"), domain="e2b.localhost").start("127.0.0.1", 0)
    else:
        factory = Backend if kind == "direct" else lambda: SpliceClient(backend)
        server = await loop.create_server(factory, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    await loop.create_future()


@contextlib.contextmanager
def running(kind: str, backend: int = 0) -> Iterator[int]:
    command = [sys.executable, __file__, "--serve", kind, "--backend", str(backend)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


HAPROXY = """
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option http-no-delay
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{backend}
"""
CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  reverse_proxy 127.0.0.1:{backend}
}}
"""


@contextlib.contextmanager
def rival(name: str, backend: int) -> Iterator[int]:
    """Run HAProxy or Caddy in front of the backend."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config"
        config.write_text((HAPROXY if name == "haproxy" else CADDY).format(port=port, backend=backend))
        command = {
            "haproxy": ["haproxy", "-db", "-f", str(config)],
            "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)],
        }[name]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for_port(port)
                yield port
            finally:
                process.terminate()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")


def head(method: str, target: str, length: int | None = None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in HEADERS)]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def measure_rate(port: int, connections: int, seconds: float) -> tuple[float, float]:
    """Return requests per second and the median latency in milliseconds."""
    if shutil.which("wrk") is None:
        return uvloop.run(measure_rate_here(port, connections, seconds))
    flags = [flag for name, value in HEADERS for flag in ("-H", f"{name}: {value}")]
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{round(seconds)}s",
        "--latency",
        *flags,
        f"http://127.0.0.1:{port}/x",
    ]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)", out)
    assert rate is not None
    assert median is not None, out
    assert "Non-2xx" not in out, out
    return float(rate[1]), float(median[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[median[2]]


async def measure_rate_here(port: int, connections: int, seconds: float) -> tuple[float, float]:
    times: list[float] = []
    ask, end = head("GET", "/x"), time.monotonic() + seconds

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.monotonic()) < end:
            writer.write(ask)
            await reader.readexactly(len(SMALL))
            times.append(time.monotonic() - start)
        writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return len(times) / seconds, statistics.median(times) * 1000


def measure_download(port: int, size: int) -> float:
    """Return MB/s."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        buffer = bytearray(1 << 20)
        start = time.monotonic()
        sock.sendall(head("GET", f"/big/{size}"))
        got = sock.recv_into(buffer)
        got -= bytes(buffer[:got]).index(b"\r\n\r\n") + 4
        while got < size:
            step = sock.recv_into(buffer)
            assert step, "the download was cut off"
            got += step
        return size / 1e6 / (time.monotonic() - start)


def measure_upload(port: int, size: int) -> float:
    """Return MB/s."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        start = time.monotonic()
        sock.sendall(head("POST", "/up", size))
        left = size
        while left:
            block = BLOCK[:left]
            sock.sendall(block)
            left -= len(block)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200"), "the upload failed"
        return size / 1e6 / (time.monotonic() - start)


def measure(port: int, seconds: float, megabytes: int) -> dict[str, float]:
    size = megabytes * 1_000_000
    one, median = measure_rate(port, 1, seconds)
    many, _ = measure_rate(port, 32, seconds)
    return {
        "c1 p50 ms": median, "c1 req/s": one, "c32 req/s": many,
        "down MB/s": measure_download(port, size), "up MB/s": measure_upload(port, size),
    }  # fmt: skip


def run(seconds: float, megabytes: int, rounds: int) -> dict[str, dict[str, float]]:
    """Measure everything `rounds` times, in turn, and keep each one's median."""
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(running("direct"))
        ports = {"direct": backend}
        for kind in ("splice", "door"):
            ports[kind] = stack.enter_context(running(kind, backend))
        for name in ("haproxy", "caddy"):
            if shutil.which(name):
                ports[name] = stack.enter_context(rival(name, backend))
        results = [{name: measure(port, seconds, megabytes) for name, port in ports.items()} for _ in range(rounds)]
    return {
        name: {key: statistics.median(one[name][key] for one in results) for key in results[0][name]} for name in ports
    }


def show(results: dict[str, dict[str, float]]) -> None:
    columns = list(results["direct"])
    print(f"{'':10}" + "".join(f"{column:>12}" for column in columns))
    for name, values in results.items():
        print(f"{name:10}" + "".join(f"{values[column]:>12.2f}" for column in columns))
    share = {column: results["door"][column] / results["splice"][column] for column in columns}
    print(f"{'door/splice':10}" + "".join(f"{share[column]:>11.0%} " for column in columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--backend", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve, options.backend))
        return
    results = run(options.seconds, options.megabytes, options.rounds)
    if options.json:
        print(json.dumps(results))
    else:
        show(results)


if __name__ == "__main__":
    main()
