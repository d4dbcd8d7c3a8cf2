"""Servers of a pretended internet; runs as a program of its own inside a network namespace.

Every address answers HTTP on 80, TLS on 443, and repeats what it gets by UDP on 443. The resolver tells what the file
of names says at that moment, and writes down what it was asked.
"""

from __future__ import annotations

import http.server
import json
import socketserver
import ssl
import sys
import threading
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset

STATUSES = {"1.1.1.1": 301, "8.8.8.8": 302, "connectivitycheck.gstatic.com": 204}


class Web(http.server.BaseHTTPRequestHandler):
    """Tells who was asked for, and at which address."""

    def do_GET(self) -> None:
        host = self.headers.get("Host", "")
        status = STATUSES.get(host, 200)
        body = b"" if status == 204 else f"{host} at {self.connection.getsockname()[0]}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - named by the library

    def log_message(self, *arguments: object) -> None:
        pass


class SecureWeb(http.server.ThreadingHTTPServer):
    """The same over TLS; a handshake that fails is its own thread's affair."""

    context: ssl.SSLContext

    def finish_request(self, request: object, client_address: object) -> None:
        try:
            secured = self.context.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
        except (OSError, ssl.SSLError):
            return
        with secured:
            super().finish_request(secured, client_address)


class Echo(socketserver.BaseRequestHandler):
    """Repeats a datagram."""

    def handle(self) -> None:
        self.request[1].sendto(self.request[0], self.client_address)


class Names(socketserver.BaseRequestHandler):
    """Answers a lookup over UDP."""

    folder: Path

    def handle(self) -> None:
        query = dns.message.from_wire(self.request[0])
        name = query.question[0].name.to_text(omit_final_dot=True)
        with (self.folder / f"asked-{self.server.server_address[0]}").open("a") as asked:
            asked.write(f"{name}\n")
        found = json.loads((self.folder / "names").read_text()).get(name.lower())
        answer = dns.message.make_response(query, recursion_available=True)
        if found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif query.question[0].rdtype == 1:
            answer.answer.append(dns.rrset.from_text_list(query.question[0].name, 0, "IN", "A", found))
        self.request[1].sendto(answer.to_wire(), self.client_address)


def main(folder: Path, resolvers: list[str]) -> None:
    """Serve until killed; says so once everything listens."""
    Names.folder = folder
    SecureWeb.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    SecureWeb.context.load_cert_chain(folder / "leaf.pem")
    servers: list[socketserver.BaseServer] = [
        http.server.ThreadingHTTPServer(("0.0.0.0", 80), Web),
        SecureWeb(("0.0.0.0", 443), Web),
    ]
    addresses = json.loads((folder / "addresses").read_text())
    servers += [socketserver.ThreadingUDPServer((address, 53), Names) for address in resolvers]
    # One socket for each address: an answer from another than the one asked would be nobody's.
    servers += [socketserver.ThreadingUDPServer((address, 443), Echo) for address in addresses]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
