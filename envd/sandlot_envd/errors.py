"""The agent's errors, and the one place where the operating system's are translated.

AgentError                  a Connect code and a message; answered as both RPC error and HTTP error
├── BadRequest              invalid_argument, 400
├── Unauthenticated         unauthenticated, 401
├── PermissionDenied        permission_denied, 403
├── NotFound                not_found, 404
├── AlreadyExists           already_exists, 409
├── FailedPrecondition      failed_precondition, 400
├── ResourceExhausted       resource_exhausted, 429
├── NoSpace                 resource_exhausted, 507
├── DeadlineExceeded        deadline_exceeded, 504
├── Unimplemented           unimplemented, 501
├── Unavailable             unavailable, 503
└── Internal                internal, 500
"""

from __future__ import annotations

import errno


class AgentError(Exception):
    """What a client is told: `message`, as Connect `code` in RPCs and as HTTP `status` elsewhere."""

    code = "unknown"
    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # Names of files may hold bytes that are not UTF-8; no client could read a message with them as they are.
        self.message = message.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class BadRequest(AgentError):
    """The request itself is wrong."""

    code, status = "invalid_argument", 400


class Unauthenticated(AgentError):
    """No or wrong credentials, or a user the sandbox does not have."""

    code, status = "unauthenticated", 401


class PermissionDenied(AgentError):
    """What even root may not do here, as on a read-only filesystem."""

    code, status = "permission_denied", 403


class NotFound(AgentError):
    """What the request names does not exist."""

    code, status = "not_found", 404


class AlreadyExists(AgentError):
    """What was to be made is there already."""

    code, status = "already_exists", 409


class FailedPrecondition(AgentError):
    """The state of the sandbox does not allow it."""

    code, status = "failed_precondition", 400


class ResourceExhausted(AgentError):
    """A limit of the sandbox or of the host is reached."""

    code, status = "resource_exhausted", 429


class NoSpace(ResourceExhausted):
    """No space or no inodes left."""

    status = 507


class DeadlineExceeded(AgentError):
    """The request's own time is over."""

    code, status = "deadline_exceeded", 504


class Unimplemented(AgentError):
    """The agent has no such feature."""

    code, status = "unimplemented", 501


class Unavailable(AgentError):
    """Cannot be served now."""

    code, status = "unavailable", 503


class Internal(AgentError):
    """The sandbox itself failed."""

    code, status = "internal", 500


_BY_ERRNO: dict[int, type[AgentError]] = {
    errno.ENOENT: NotFound,
    errno.ENOTDIR: BadRequest,
    errno.ENAMETOOLONG: BadRequest,
    errno.EINVAL: BadRequest,
    errno.EISDIR: BadRequest,
    errno.ENXIO: BadRequest,
    errno.EACCES: PermissionDenied,
    errno.EPERM: PermissionDenied,
    errno.EROFS: PermissionDenied,
    errno.EBUSY: FailedPrecondition,
    errno.ETXTBSY: FailedPrecondition,
    errno.ELOOP: FailedPrecondition,
    errno.EEXIST: AlreadyExists,
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
    errno.EMFILE: ResourceExhausted,
    errno.ENFILE: ResourceExhausted,
    errno.EAGAIN: ResourceExhausted,
    errno.ENOMEM: ResourceExhausted,
}


def translate(error: OSError, what: str) -> AgentError:
    """Return the agent's error for the operating system's; `what` says what was attempted."""
    kind = _BY_ERRNO.get(error.errno or 0, Internal)
    return kind(f"{what}: {error.strerror or error}")
