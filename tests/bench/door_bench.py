"""The front door beside a direct connection and beside the least that frames every request, in one run.

    python tests/bench/door_bench.py [--seconds 3] [--megabytes 256] [--rounds 2]

Every server is a process of its own. With `wrk`, `haproxy` or `caddy` on PATH they are used as load and as rivals;
without `wrk` a client of this file makes the load, which is slower than the servers. Where other work shares the
machine, compare `c32 cpu us`: the processor time of the proxy per request. (Caddy and HAProxy may use more threads.)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
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
from typing import NamedTuple

from door_servers import BLOCK, SANDBOX, SMALL


class Running(NamedTuple):
    """A server in a process of its own."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Processor time that it has used, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


HEADERS = [
    ("E2b-Sandbox-Id", SANDBOX),
    ("E2b-Sandbox-Port", "49983"),
    ("X-Access-Token", "0123456789abcdef" * 4),
    ("User-Agent", "e2b-python-sdk/2.63.0"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip, deflate"),
]


@contextlib.contextmanager
def running(kind: str, backend: int = 0) -> Iterator[Running]:
    """Run a server of ours."""
    command = [sys.executable, str(Path(__file__).with_name("door_servers.py")), kind, str(backend)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Running(int(process.stdout.readline()), process.pid)
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
def rival(name: str, backend: int) -> Iterator[Running]:
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
                yield Running(port, process.pid)
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
        return asyncio.run(measure_rate_here(port, connections, seconds))
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


def measure(server: Running, seconds: float, megabytes: int) -> dict[str, float]:
    port, size = server.port, megabytes * 1_000_000
    one, median = measure_rate(port, 1, seconds)
    used = server.cpu_s()
    many, _ = measure_rate(port, 32, seconds)
    used = server.cpu_s() - used
    return {
        "c1 p50 ms": median, "c1 req/s": one, "c32 req/s": many, "c32 cpu us": used / (many * seconds) * 1e6,
        "down MB/s": measure_download(port, size), "up MB/s": measure_upload(port, size),
    }  # fmt: skip


def run(seconds: float, megabytes: int, rounds: int) -> dict[str, dict[str, float]]:
    """Measure everything `rounds` times, in turn, and keep each one's median."""
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(running("direct"))
        servers = {"direct": backend}
        for kind in ("splice", "door"):
            servers[kind] = stack.enter_context(running(kind, backend.port))
        for name in ("haproxy", "caddy"):
            if shutil.which(name):
                servers[name] = stack.enter_context(rival(name, backend.port))
        results = [
            {name: measure(server, seconds, megabytes) for name, server in servers.items()} for _ in range(rounds)
        ]
    return {
        name: {key: statistics.median(one[name][key] for one in results) for key in results[0][name]}
        for name in servers
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
    options = parser.parse_args()
    results = run(options.seconds, options.megabytes, options.rounds)
    if options.json:
        print(json.dumps(results))
    else:
        show(results)


if __name__ == "__main__":
    main()
