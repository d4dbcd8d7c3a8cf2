"""Methods that are called on an object, or on the class with a sandbox's id: `sandbox.kill()`, `Sandbox.kill(id)`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class Joined:
    """A method of objects and a class method, which takes the id first, under one name."""

    def __init__(self, of_object: Any, of_class: Any) -> None:
        self.of_object = of_object
        self.of_class = of_class
        self.__doc__ = of_object.__doc__

    def bind(self, instance: object, owner: type[Any]) -> Any:
        """Return the form that is meant; the class's form takes an object too, as in `Sandbox.kill(sandbox)`."""
        of_object, of_class = self.of_object, self.of_class.__get__(None, owner)
        if instance is not None:
            return of_object.__get__(instance, owner)

        @functools.wraps(of_class)
        def call(*args: Any, **kwargs: Any) -> Any:
            if args and isinstance(args[0], owner):
                return of_object(*args, **kwargs)
            return of_class(*args, **kwargs)

        return call


class both(Joined, Generic[P, R, Q, S]):  # noqa: N801 - read like `classmethod`
    """`name = both(_name, _name_by_id)`; type checkers see the right form."""

    def __init__(self, of_object: Callable[Concatenate[Any, P], R], of_class: Callable[Concatenate[Any, Q], S]) -> None:
        super().__init__(of_object, of_class)

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Callable[Q, S]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> Callable[P, R]: ...

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        return self.bind(instance, owner)
