"""What went wrong on the wire, said as the SDK's exceptions: one table for each kind of answer."""

from __future__ import annotations

from typing import Any

from ._http import BadResponse, ConnectFailed, RequestTimedOut, TransportError, Untrusted
from .config import ConnectionConfig
from .exceptions import (
    AuthenticationException,
    GuestUnresponsiveException,
    InvalidArgumentException,
    NotEnoughSpaceException,
    NotFoundException,
    ProtocolException,
    RateLimitException,
    SandboxException,
    SandboxNotRunningException,
    SandboxUnreachableException,
    ServerUnreachableException,
    ServiceBusyException,
    TimeoutException,
)

GONE = "was not found"
CLOSED = "port is not open"
"""Parts of the front door's two 502 messages; their wording is part of the protocol."""

RAISE_TIMEOUT = "a longer 'request_timeout' may help, 0 sets none"

_RPC_STATUS = {
    400: "invalid_argument",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    409: "already_exists",
    413: "resource_exhausted",
    429: "resource_exhausted",
    499: "canceled",
    500: "internal",
    501: "unimplemented",
    502: "unavailable",
    503: "unavailable",
    504: "deadline_exceeded",
    505: "unimplemented",
}


class RpcError(Exception):
    """An error as the Connect protocol tells it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    @property
    def is_ambiguous(self) -> bool:
        """Whether only a look at the sandbox's health can tell what this means."""
        return self.code == "unavailable" and GONE not in self.message and CLOSED not in self.message


def read_message(data: Any, text: bytes) -> str:
    """Return the `message` of a JSON error body, else the body itself."""
    if isinstance(data, dict) and isinstance(data.get("message"), str):
        return str(data["message"])
    return text.decode("utf-8", "replace")


def rpc_error_from_http(status: int, data: Any, text: bytes) -> RpcError:
    """Read an answer of other than 200 to an RPC: Connect's own error, or a plain HTTP one of a server before it."""
    code = data.get("code") if isinstance(data, dict) else None
    message = read_message(data, text) or f"HTTP {status}"
    if isinstance(code, str):
        return RpcError(code, message)
    if isinstance(code, int):
        status = code
    return RpcError(_RPC_STATUS.get(status, "unknown"), message)


def explain_unavailable(message: str) -> SandboxException:
    """Return what a 502, or the code `unavailable`, means by its message."""
    if GONE in message:
        return SandboxNotRunningException(
            f"{message}: the sandbox was killed or reached its timeout. Give a longer 'timeout' when creating it, "
            "or call set_timeout() while it runs."
        )
    if CLOSED in message:
        return SandboxUnreachableException(
            f"{message}: the sandbox runs, but the agent in it does not answer. get_info() tells its state."
        )
    return SandboxUnreachableException(
        f"{message}: the sandbox did not answer and its state is not known: it may have ended, or the connection "
        "was lost. get_info() tells its state."
    )


def explain_rpc(error: RpcError, not_found: type[Exception] = NotFoundException) -> Exception:
    """Return the exception for an RPC error."""
    code, message = error.code, error.message
    if code == "not_found":
        return not_found(message)
    if code == "unavailable":
        return explain_unavailable(message)
    if code == "resource_exhausted":
        return RateLimitException(f"{message}: too many requests, try again later")
    if code == "canceled":
        return TimeoutException(f"{message}: the request was cancelled on its way, as when a sandbox is paused")
    if code == "deadline_exceeded":
        return TimeoutException(
            f"{message}: 'timeout', the time a command or watch may take, has passed, or 'request_timeout'; 0 sets none"
        )
    kinds: dict[str, type[Exception]] = {
        "invalid_argument": InvalidArgumentException,
        "unauthenticated": AuthenticationException,
    }
    return kinds[code](message) if code in kinds else SandboxException(f"{code}: {message}")


def explain_files_status(status: int, message: str, not_found: type[Exception]) -> Exception:
    """Return the exception for an answer of the agent's file routes."""
    if status == 502:
        return explain_unavailable(message)
    if status == 429:
        return RateLimitException(f"{message}: too many requests, try again later")
    kinds: dict[int, type[Exception]] = {
        400: InvalidArgumentException,
        401: AuthenticationException,
        404: not_found,
        507: NotEnoughSpaceException,
    }
    return kinds[status](message) if status in kinds else SandboxException(f"{status}: {message}")


def explain_api_status(status: int, message: str, error_code: object = None) -> Exception:
    """Return the exception for an answer of the API; 404 is for the caller to name."""
    if error_code == GuestUnresponsiveException.code:
        return GuestUnresponsiveException(f'{message}. Resume the sandbox with on_resume="reboot".')
    if status == 401:
        return AuthenticationException(f"401: the API key was refused - {message}")
    if status == 429:
        return RateLimitException(f"429: too many requests, try again later - {message}")
    if status == 503:
        return ServiceBusyException(f"503: the server has no room right now, try again - {message}")
    return SandboxException(f"{status}: {message}", status_code=status)


def explain_api_failure(error: TransportError, config: ConnectionConfig) -> SandboxException:
    """Return the exception for an API call that got no answer; the message says what to do next."""
    if isinstance(error, RequestTimedOut):
        return TimeoutException(f"The request to {config.api_url} timed out, {error}; {RAISE_TIMEOUT}.")
    if isinstance(error, BadResponse):
        return ProtocolException(f"{config.api_url} does not answer as a Sandlot or E2B server does: {error}")
    if isinstance(error, Untrusted):
        return ServerUnreachableException(_explain_untrusted(error, config.api_url))
    if isinstance(error, ConnectFailed):
        return ServerUnreachableException(f"No server answers at {config.api_url} ({error}). {_next_step(config)}")
    return ServerUnreachableException(
        f"The connection to {config.api_url} broke before the answer came ({error}): whether the call was carried "
        "out is not known."
    )


def _explain_untrusted(error: Untrusted, url: str) -> str:
    return f"The certificate of {url} is not trusted: {error}. Set SSL_CERT_FILE to the file of its authority."


def _next_step(config: ConnectionConfig) -> str:
    if config.api_url == config.local.url:
        return "Start one with `sandlot serve`, or `make up` in Sandlot's folder; or set E2B_API_URL to one that runs."
    return "Look at E2B_API_URL, E2B_DOMAIN and the options `api_url` and `domain`."


def explain_missing_key(config: ConnectionConfig) -> AuthenticationException:
    """Return the exception for a call without an API key."""
    local = config.local
    if config.api_url == local.url:
        where = f"The server writes one to {local.home}/key on its first start: run `sandlot serve`"
    else:
        where = f"{config.api_url} is not the server of this machine, whose key would be found"
    return AuthenticationException(f"No API key. {where}; or set E2B_API_KEY, or pass api_key.")


def explain_no_server(error: ConnectFailed, url: str, config: ConnectionConfig) -> SandboxUnreachableException:
    """Return the exception for a request to a sandbox when nothing listens where it should be."""
    if isinstance(error, Untrusted):
        return SandboxUnreachableException(_explain_untrusted(error, url))
    hint = _next_step(config) if url == config.api_url else "Look at E2B_SANDBOX_URL, E2B_DOMAIN and `sandbox_url`."
    return SandboxUnreachableException(f"Nothing answers at {url}, where the sandbox should be ({error}). {hint}")


def explain_lost_sandbox(error: Exception) -> SandboxNotRunningException:
    """Return the exception for a request that broke because its sandbox has ended."""
    return SandboxNotRunningException(
        f"{error}: The sandbox was killed or reached its end of life while the request was in flight."
    )


def explain_unreachable_sandbox(error: Exception, probe: Exception) -> SandboxUnreachableException:
    """Return the exception for a request that broke, and whose look at the sandbox's health failed too."""
    if isinstance(probe, SandboxUnreachableException):
        return probe
    return SandboxUnreachableException(
        f"{error}: the sandbox could not be reached, and a look at its health failed too ({probe}). It is not known "
        "to have ended: this may be the network, or the server is down. get_info() tells its state."
    )
