"""An HTTP proxy for tests: forwards absolute URLs, tunnels CONNECT, remembers what it was asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Proxy:
    """Listens on 127.0.0.1; every tunnel or forwarded connection leads to `target`, whatever was asked for."""

    def __init__(self, target: int, refuse: bool = False) -> None:
        self.heads: list[str] = []
        self._target = target
        self._refuse = refuse
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            shut(sock)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        for sock in self._open:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, upstream]
            self._start(self._serve, client, upstream)

    def _start(self, function: object, *sockets: socket.socket) -> None:
        thread = threading.Thread(target=function, args=sockets)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket, upstream: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (byte := client.recv(1)):
                return
            head += byte
        self.heads.append(head.decode())
        if self._refuse:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif head.startswith(b"CONNECT"):
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._start(pump, upstream, client)
            pump(client, upstream)
        else:
            upstream.sendall(head)
            self._start(pump, upstream, client)
            pump(client, upstream)


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    shut(target)


def shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
