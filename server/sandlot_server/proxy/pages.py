"""What the front door answers itself: JSON in E2B's shape, or a page for a person with a browser. Pure.

The wording of the two 502 messages is part of the contract: SDKs look for "was not found" and "port is not open".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from string import Template
from typing import Final

from sandlot_protocol.http import TRAFFIC_TOKEN_HEADER
from sandlot_server.proxy.heads import find_field

_BROWSER: Final = re.compile(r"mozilla|chrome|safari|firefox|edge|opera|msie", re.IGNORECASE)
_SCRIPTED_MODES: Final = frozenset({"cors", "no-cors", "same-origin", "websocket"})
_CORS: Final = (
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Expose-Headers: *\r\n"
)  # fmt: skip
_PREFLIGHT: Final = (
    "HTTP/1.1 204 No Content\r\n"
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
    "Access-Control-Allow-Headers: $headers\r\n"
    "Access-Control-Max-Age: 5\r\n"
    "Vary: Access-Control-Request-Headers\r\n"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the door: its JSON, and what a person is told."""

    status: int
    fields: dict[str, str | int]
    title: str = ""
    advice: str = ""
    is_text: bool = False

    @property
    def message(self) -> str:
        """The message that SDKs show."""
        return str(self.fields["message"])


def refused(status: int, message: str) -> Answer:
    """A request that the door does not pass on, because of its form."""
    return Answer(status, {"code": status, "message": message}, "This request was refused", "")


def misrouted(message: str) -> Answer:
    """A request that names no target; E2B's edge answers it in plain text."""
    return Answer(400, {"code": 400, "message": message}, is_text=True)


def sandbox_not_found(sandbox_id: str) -> Answer:
    """Unknown, killed, or paused without auto-resume."""
    return Answer(
        502,
        {"sandboxId": sandbox_id, "message": "The sandbox was not found", "code": 502},
        "This sandbox is not running",
        "It may have reached the end of its timeout, have been killed or be paused. "
        "Start a new one, give it a longer timeout, or connect to it with the SDK to resume it.",
    )


def port_closed(sandbox_id: str, port: int) -> Answer:
    """The sandbox runs, but nothing in it accepts connections on the port."""
    return Answer(
        502,
        {
            "sandboxId": sandbox_id,
            "message": "The sandbox is running but port is not open",
            "port": port,
            "code": 502,
        },
        f"Nothing listens on port {port}",
        f"The sandbox is running. Start a service on port {port} in it, or check the log of the one that "
        "should be there, then reload this page.",
    )


def bad_upstream(sandbox_id: str, port: int, reason: str) -> Answer:
    """The service in the sandbox answered with something that is not HTTP."""
    message = f"The service on port {port} did not answer in valid HTTP: {reason}"
    return Answer(
        502,
        {"sandboxId": sandbox_id, "message": message, "port": port, "code": 502},
        f"The service on port {port} does not speak HTTP",
        "Something listens there, but its answer could not be read as HTTP/1.1.",
    )


def traffic_token_missing(sandbox_id: str) -> Answer:
    """The sandbox's ports are private and the request carries no token."""
    return _traffic_token(sandbox_id, f"Token header '{TRAFFIC_TOKEN_HEADER}' is missing")


def traffic_token_invalid(sandbox_id: str) -> Answer:
    """The sandbox's ports are private and the request carries another token."""
    return _traffic_token(sandbox_id, f"Provided token in header '{TRAFFIC_TOKEN_HEADER}' is invalid")


def _traffic_token(sandbox_id: str, reason: str) -> Answer:
    return Answer(
        403,
        {"sandboxId": sandbox_id, "message": f"Sandbox is secured with traffic access token. {reason}", "code": 403},
        "This sandbox is private",
        f"Its ports answer only to requests with the header {TRAFFIC_TOKEN_HEADER}. The SDK shows the token as "
        "traffic_access_token (Python) or trafficAccessToken (JavaScript) of the sandbox.",
    )


def resume_denied(sandbox_id: str) -> Answer:
    """The sandbox is paused, and the request may not wake it."""
    message = "This sandbox can't be resumed with the credentials provided. Check your access token and try again."
    return Answer(
        403,
        {"sandboxId": sandbox_id, "message": message, "code": 403},
        "This sandbox is paused and private",
        "A request that carries its access token resumes it.",
    )


def still_transitioning(sandbox_id: str) -> Answer:
    """The sandbox is being paused or resumed and was not ready in time."""
    return Answer(
        409,
        {
            "sandboxId": sandbox_id,
            "message": "The sandbox is still transitioning. Try again in a moment.",
            "code": 409,
        },
        "This sandbox is changing its state",
        "It is being paused or resumed. Reload this page in a moment.",
    )


def too_many_connections(sandbox_id: str, limit: int) -> Answer:
    """The sandbox has as many requests in flight as one may have."""
    message = f"The sandbox has too many concurrent incoming connections (limit: {limit})"
    return Answer(
        429,
        {"sandboxId": sandbox_id, "message": message, "connectionLimit": limit, "code": 429},
        "Too many connections to this sandbox",
        "Close some of them, then reload this page.",
    )


def limit_reached(sandbox_id: str, message: str) -> Answer:
    """The sandbox cannot be resumed since no more may run."""
    return Answer(
        429,
        {"sandboxId": sandbox_id, "message": message, "code": 429},
        "No further sandbox can run now",
        "Another one has to end first.",
    )


def reserved_route(path: str) -> Answer:
    """A route of the agent that only the control plane calls."""
    message = "This endpoint is reserved for the E2B control plane and is not reachable through the sandbox URL"
    return Answer(404, {"message": message, "path": path, "code": 404}, "There is no such page", message + ".")


def api_unreachable() -> Answer:
    """The API's own server does not accept connections."""
    return Answer(
        503,
        {"code": 503, "message": "The Sandlot API is starting or has stopped. Try again in a moment."},
        "Sandlot is not ready",
        "The API is starting or has stopped. Reload this page in a moment.",
    )


def is_preflight(method: bytes, block: bytes) -> bool:
    """Whether a browser asks if it may send a request from another origin."""
    return method == b"OPTIONS" and find_field(block, b"access-control-request-method") != ""


def render_preflight(block: bytes, *, close: bool) -> bytes:
    """Allow the request that would get an answer of the door's, so that the page's script can read that answer."""
    headers = find_field(block, b"access-control-request-headers") or "*"
    return (_PREFLIGHT.replace("$headers", headers) + _end(close)).encode("latin-1")


def render(answer: Answer, block: bytes = b"", *, close: bool, head_only: bool = False) -> bytes:
    """Return the whole response; `block` are the request's header fields, which decide about its form."""
    kind, body = _render_body(answer, block)
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"Content-Type: {kind}; charset=utf-8\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n"
        f"X-Content-Type-Options: nosniff\r\n{_CORS}{_end(close)}"
    )
    return head.encode("latin-1") + (b"" if head_only else body)


def wants_page(block: bytes) -> bool:
    """Whether the request is a person's browser going to a page, not a script's call."""
    accept = find_field(block, b"accept").lower()
    if "application/json" in accept and "text/html" not in accept:
        return False
    mode = find_field(block, b"sec-fetch-mode").lower()
    if mode in _SCRIPTED_MODES or (mode != "navigate" and find_field(block, b"x-requested-with")):
        return False
    return _BROWSER.search(find_field(block, b"user-agent")) is not None


def _render_body(answer: Answer, block: bytes) -> tuple[str, bytes]:
    if answer.is_text:
        return "text/plain", (answer.message + "\n").encode()
    if answer.title and wants_page(block):
        return "text/html", _render_page(answer).encode()
    return "application/json", json.dumps(answer.fields, separators=(",", ":")).encode()


def _render_page(answer: Answer) -> str:
    facts = [("sandbox", answer.fields.get("sandboxId")), ("port", answer.fields.get("port"))]
    rows = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts if value is not None)
    return _PAGE.substitute(
        title=escape(answer.title),
        advice=escape(answer.advice or answer.message),
        facts=f"<dl>{rows}</dl>" if rows else "",
        status=answer.status,
        message=escape(answer.message),
    )


def _end(close: bool) -> str:
    return "Connection: close\r\n\r\n" if close else "\r\n"


_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
  :root { --ink: #1c1917; --soft: #78716c; --paper: #faf8f3; --card: #fff; --line: #e7e2d8; --mark: #c2410c; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #f5f1ea; --soft: #a8a29e; --paper: #171412; --card: #211d1a; --line: #3a332d; --mark: #fb923c; }
  }
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper);
    color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
  main { box-sizing: border-box; width: min(34rem, calc(100vw - 2rem)); margin: 2rem 0; padding: 2rem;
    background: var(--card); border: 1px solid var(--line); border-top: 4px solid var(--mark); border-radius: 12px; }
  h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25; }
  p { margin: 0 0 1.25rem; }
  dl { display: grid; grid-template-columns: auto 1fr; gap: .35rem 1rem; margin: 0 0 1.25rem; padding: .9rem 1rem;
    border: 1px solid var(--line); border-radius: 8px; }
  dt { color: var(--soft); }
  dd { margin: 0; font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
  footer { padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .875rem; }
</style>
<main>
  <h1>$title</h1>
  <p>$advice</p>
  $facts
  <footer>$status · $message · Sandlot</footer>
</main>
</html>
""")
