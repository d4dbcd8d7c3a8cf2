"""Sandboxes of a Sandlot server: `Sandbox.create()`, or `await AsyncSandbox.create()`.

The names are those of the E2B SDK. Without any settings this machine's server is used; see `ApiParams` for the
settings there are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import ApiParams, ConnectionConfig, HttpVersion, ProxyTypes, Username
from .exceptions import (
    AuthenticationException,
    BuildException,
    DockerfileSyntaxError,
    FileNotFoundException,
    FileUploadException,
    GuestUnresponsiveException,
    InvalidArgumentException,
    NotEnoughSpaceException,
    NotFoundException,
    ProtocolException,
    RateLimitException,
    SandboxException,
    SandboxNotFoundException,
    SandboxNotRunningException,
    SandboxUnreachableException,
    ServerUnreachableException,
    ServiceBusyException,
    TemplateException,
    TimeoutException,
)
from .lifecycle import SandboxLifecycle, SandboxOnResume, SandboxOnTimeout, SnapshotMode
from .mcp import GitHubMcpServer, GitHubMcpServerConfig, McpServer
from .models import (
    AsyncWriteData,
    CommandExitException,
    CommandResult,
    EntryInfo,
    FilesystemEvent,
    FilesystemEventType,
    FileType,
    ProcessInfo,
    PtyOutput,
    PtySize,
    SandboxInfo,
    SandboxInfoLifecycle,
    SandboxListOrder,
    SandboxMetrics,
    SandboxQuery,
    SandboxState,
    SnapshotInfo,
    Stderr,
    Stdout,
    WriteData,
    WriteEntry,
    WriteInfo,
)
from .network import (
    ALL_TRAFFIC,
    SandboxEgressProxyInfo,
    SandboxEgressProxyOpts,
    SandboxEgressProxyTLSInfo,
    SandboxEgressProxyTLSOpts,
    SandboxIamOpts,
    SandboxIamToken,
    SandboxIamTokenType,
    SandboxNetworkInfo,
    SandboxNetworkOpts,
    SandboxNetworkRule,
    SandboxNetworkRuleInfo,
    SandboxNetworkRules,
    SandboxNetworkSelector,
    SandboxNetworkSelectorContext,
    SandboxNetworkTransform,
    SandboxNetworkTransformContext,
    SandboxNetworkTransformResolver,
    SandboxNetworkUpdate,
)

if TYPE_CHECKING:
    from ._async.command_handle import AsyncCommandHandle
    from ._async.file_stream import AsyncFileStreamReader
    from ._async.input_handle import AsyncCommandInputHandle
    from ._async.io import OutputHandler
    from ._async.paginator import AsyncSandboxPaginator, AsyncSnapshotPaginator
    from ._async.sandbox import AsyncSandbox
    from ._async.template import AsyncTemplate
    from ._async.watch_handle import AsyncWatchHandle
    from ._sync.file_stream import FileStreamReader
    from ._sync.paginator import SandboxPaginator, SnapshotPaginator
    from ._sync.sandbox import Sandbox
    from ._sync.template import Template
    from ._sync_support.command_handle import CommandHandle
    from ._sync_support.watch_handle import WatchHandle
    from .build_logger import default_build_logger
    from .readiness import ReadyCmd, wait_for_file, wait_for_port, wait_for_process, wait_for_timeout, wait_for_url
    from .signature import get_signature
    from .template_base import TemplateBase
    from .template_builder import TemplateBuilder, TemplateClass, TemplateFinal
    from .template_models import (
        BuildInfo,
        BuildStatusReason,
        CopyItem,
        LogEntry,
        LogEntryEnd,
        LogEntryLevel,
        LogEntryStart,
        TemplateBuildStatus,
        TemplateBuildStatusResponse,
        TemplateTag,
        TemplateTagInfo,
    )

_LAZY = {
    "AsyncCommandHandle": "._async.command_handle",
    "AsyncCommandInputHandle": "._async.input_handle",
    "AsyncFileStreamReader": "._async.file_stream",
    "AsyncSandbox": "._async.sandbox",
    "AsyncSandboxPaginator": "._async.paginator",
    "AsyncSnapshotPaginator": "._async.paginator",
    "AsyncTemplate": "._async.template",
    "AsyncWatchHandle": "._async.watch_handle",
    "BuildInfo": ".template_models",
    "BuildStatusReason": ".template_models",
    "CommandHandle": "._sync_support.command_handle",
    "CopyItem": ".template_models",
    "FileStreamReader": "._sync.file_stream",
    "LogEntry": ".template_models",
    "LogEntryEnd": ".template_models",
    "LogEntryLevel": ".template_models",
    "LogEntryStart": ".template_models",
    "OutputHandler": "._async.io",
    "ReadyCmd": ".readiness",
    "Sandbox": "._sync.sandbox",
    "SandboxPaginator": "._sync.paginator",
    "SnapshotPaginator": "._sync.paginator",
    "Template": "._sync.template",
    "TemplateBase": ".template_base",
    "TemplateBuildStatus": ".template_models",
    "TemplateBuildStatusResponse": ".template_models",
    "TemplateBuilder": ".template_builder",
    "TemplateClass": ".template_builder",
    "TemplateFinal": ".template_builder",
    "TemplateTag": ".template_models",
    "TemplateTagInfo": ".template_models",
    "WatchHandle": "._sync_support.watch_handle",
    "default_build_logger": ".build_logger",
    "get_signature": ".signature",
    "wait_for_file": ".readiness",
    "wait_for_port": ".readiness",
    "wait_for_process": ".readiness",
    "wait_for_timeout": ".readiness",
    "wait_for_url": ".readiness",
}
"""Imported when first asked for: whoever uses the one client does not pay for the other."""

__all__ = [
    "ALL_TRAFFIC",
    "ApiParams",
    "AsyncCommandHandle",
    "AsyncCommandInputHandle",
    "AsyncFileStreamReader",
    "AsyncSandbox",
    "AsyncSandboxPaginator",
    "AsyncSnapshotPaginator",
    "AsyncTemplate",
    "AsyncWatchHandle",
    "AsyncWriteData",
    "AuthenticationException",
    "BuildException",
    "BuildInfo",
    "BuildStatusReason",
    "CommandExitException",
    "CommandHandle",
    "CommandResult",
    "ConnectionConfig",
    "CopyItem",
    "DockerfileSyntaxError",
    "EntryInfo",
    "FileNotFoundException",
    "FileStreamReader",
    "FileType",
    "FileUploadException",
    "FilesystemEvent",
    "FilesystemEventType",
    "GitHubMcpServer",
    "GitHubMcpServerConfig",
    "GuestUnresponsiveException",
    "HttpVersion",
    "InvalidArgumentException",
    "LogEntry",
    "LogEntryEnd",
    "LogEntryLevel",
    "LogEntryStart",
    "McpServer",
    "NotEnoughSpaceException",
    "NotFoundException",
    "OutputHandler",
    "ProcessInfo",
    "ProtocolException",
    "ProxyTypes",
    "PtyOutput",
    "PtySize",
    "RateLimitException",
    "ReadyCmd",
    "Sandbox",
    "SandboxEgressProxyInfo",
    "SandboxEgressProxyOpts",
    "SandboxEgressProxyTLSInfo",
    "SandboxEgressProxyTLSOpts",
    "SandboxException",
    "SandboxIamOpts",
    "SandboxIamToken",
    "SandboxIamTokenType",
    "SandboxInfo",
    "SandboxInfoLifecycle",
    "SandboxLifecycle",
    "SandboxListOrder",
    "SandboxMetrics",
    "SandboxNetworkInfo",
    "SandboxNetworkOpts",
    "SandboxNetworkRule",
    "SandboxNetworkRuleInfo",
    "SandboxNetworkRules",
    "SandboxNetworkSelector",
    "SandboxNetworkSelectorContext",
    "SandboxNetworkTransform",
    "SandboxNetworkTransformContext",
    "SandboxNetworkTransformResolver",
    "SandboxNetworkUpdate",
    "SandboxNotFoundException",
    "SandboxNotRunningException",
    "SandboxOnResume",
    "SandboxOnTimeout",
    "SandboxPaginator",
    "SandboxQuery",
    "SandboxState",
    "SandboxUnreachableException",
    "ServerUnreachableException",
    "ServiceBusyException",
    "SnapshotInfo",
    "SnapshotMode",
    "SnapshotPaginator",
    "Stderr",
    "Stdout",
    "Template",
    "TemplateBase",
    "TemplateBuildStatus",
    "TemplateBuildStatusResponse",
    "TemplateBuilder",
    "TemplateClass",
    "TemplateException",
    "TemplateFinal",
    "TemplateTag",
    "TemplateTagInfo",
    "TimeoutException",
    "Username",
    "WatchHandle",
    "WriteData",
    "WriteEntry",
    "WriteInfo",
    "default_build_logger",
    "get_signature",
    "wait_for_file",
    "wait_for_port",
    "wait_for_process",
    "wait_for_timeout",
    "wait_for_url",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
