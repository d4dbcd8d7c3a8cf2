"""Everything the client raises; the names are E2B's.

SandboxException
├── TimeoutException                  a time limit passed, ours or the server's
│   ├── SandboxNotRunningException    the sandbox is gone: killed, paused or at its end
│   └── SandboxUnreachableException   it may still run, but nothing in it answers
├── InvalidArgumentException
├── NotEnoughSpaceException
├── NotFoundException
│   ├── FileNotFoundException
│   └── SandboxNotFoundException
├── RateLimitException
├── GuestUnresponsiveException
├── TemplateException                 the template's agent is too old, or a template is asked for in a wrong way
├── CommandExitException              (in `models`) a command ended with a non-zero exit code
├── ServerUnreachableException        no server answered at all (not in the E2B SDK)
└── ProtocolException                 the answer is not what the protocol says (not in the E2B SDK)
BuildException                        the build of a template failed; as in the E2B SDK, not a SandboxException
└── FileUploadException               files of a COPY step did not reach the server
DockerfileSyntaxError                 (a ValueError) a Dockerfile cannot be made a template
AuthenticationException               as in the E2B SDK, not a SandboxException
ServiceBusyException                  as in the E2B SDK, not a SandboxException
"""

from __future__ import annotations


class SandboxException(Exception):
    """Something went wrong with a sandbox, or with what stands in front of it."""

    status_code: int | None = None
    """HTTP status of the API's answer, when the error was one."""

    def __init__(self, *args: object, status_code: int | None = None) -> None:
        super().__init__(*args)
        self.status_code = status_code


class TimeoutException(SandboxException):
    """A time limit passed: `timeout` of a command or watch, `request_timeout`, or the sandbox's own."""


class SandboxNotRunningException(TimeoutException):
    """The sandbox does not run any more: killed, paused, or past its timeout. Trying again does not help."""


class SandboxUnreachableException(TimeoutException):
    """The sandbox did not answer, and nothing confirms that it has ended. `get_info()` tells its state."""


class InvalidArgumentException(SandboxException):
    """An argument cannot be used; the message names it."""


class NotEnoughSpaceException(SandboxException):
    """The sandbox's disk is full."""


class NotFoundException(SandboxException):
    """Something that was named does not exist."""


class FileNotFoundException(NotFoundException):
    """There is no such file or directory in the sandbox."""


class SandboxNotFoundException(NotFoundException):
    """There is no such sandbox, or it has ended."""


class RateLimitException(SandboxException):
    """The server asks for fewer requests."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args, status_code=429)


class GuestUnresponsiveException(SandboxException):
    """The sandbox was paused while its agent did not answer: resume it with `on_resume="reboot"`."""

    code = "sandbox_snapshot_guest_agent_unresponsive"
    """The API's `error_code` for this."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args, status_code=409)


class TemplateException(SandboxException):
    """A template is asked for in a wrong way; or its agent is too old for what was asked: build it again."""


class BuildException(Exception):
    """The build of a template failed. The message names the step, a note says where that was written down."""


class FileUploadException(BuildException):
    """Files of a COPY step did not reach the server."""


class DockerfileSyntaxError(ValueError):
    """A Dockerfile cannot be made a template; the message names the line and what is not supported."""


class ServerUnreachableException(SandboxException):
    """No server answered at the address; the message says how to start one."""


class ProtocolException(SandboxException):
    """The answer is not what the protocol says: an old server, or another program on its port."""


class AuthenticationException(Exception):
    """The API key or the user name was missing or refused."""


class ServiceBusyException(Exception):
    """The server has no capacity right now (HTTP 503). Nothing was changed: try again in a moment."""

    status_code = 503
