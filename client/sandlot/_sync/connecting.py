# Generated from client/sandlot/_async/connecting.py by sandlot._dev.unasync: change that file, not this one.
"""`connect` and `fork`, on an object and on the class: apart from the others since they return the class itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack, overload

from sandlot._both import Joined
from sandlot.config import ApiParams
from sandlot.lifecycle import SandboxOnResume

if TYPE_CHECKING:
    import logging

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class ConnectObject(Protocol[S_co]):
    """`sandbox.connect(…)`"""

    def __call__(
        self, timeout: int | None = None, *, on_resume: SandboxOnResume = "restore", **opts: Unpack[ApiParams]
    ) -> S_co: ...


class ConnectById(Protocol[S_co]):
    """`Sandbox.connect(sandbox_id, …)`"""

    def __call__(
        self,
        sandbox_id: str,
        timeout: int | None = None,
        logger: logging.Logger | None = None,
        *,
        on_resume: SandboxOnResume = "restore",
        **opts: Unpack[ApiParams],
    ) -> S_co: ...


class Connect(Joined):
    """Both forms of `connect` under one name."""

    @overload
    def __get__(self, instance: None, owner: type[S]) -> ConnectById[S]: ...
    @overload
    def __get__(self, instance: S, owner: type[Any]) -> ConnectObject[S]: ...

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self.bind(instance, owner)


class ForkObject(Protocol[S]):
    """`sandbox.fork(…)`"""

    def __call__(
        self, timeout: int | None = None, count: int | None = None, **opts: Unpack[ApiParams]
    ) -> list[S | Exception]: ...


class ForkById(Protocol[S]):
    """`Sandbox.fork(sandbox_id, …)`"""

    def __call__(
        self,
        sandbox_id: str,
        timeout: int | None = None,
        count: int | None = None,
        logger: logging.Logger | None = None,
        **opts: Unpack[ApiParams],
    ) -> list[S | Exception]: ...


class Fork(Joined):
    """Both forms of `fork` under one name."""

    @overload
    def __get__(self, instance: None, owner: type[S]) -> ForkById[S]: ...
    @overload
    def __get__(self, instance: S, owner: type[Any]) -> ForkObject[S]: ...

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self.bind(instance, owner)
