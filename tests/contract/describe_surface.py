"""Prints the public surface of a client package as JSON: `python describe_surface.py e2b`.

Started by test_surface.py with the Python that has the package; nothing is imported but the package itself.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import json
import sys
import typing

package = importlib.import_module(sys.argv[1])


def describe_function(function):
    """Parameters without `self` and `cls`, and whether a call is to be awaited."""
    parameters = [
        [name, parameter.kind.name, repr(parameter.default) if parameter.default is not parameter.empty else None]
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("self", "cls")
    ]
    return {"parameters": parameters, "awaited": inspect.iscoroutinefunction(function)}


def split(name, member, cls):
    """A method that is both: under its name as called on an object, and with `(by id)` as called on the class."""
    of_object = getattr(member, "method", None) or getattr(member, "of_object", None)
    if of_object is None:
        return {name: describe_function(getattr(cls, name))}
    of_class = getattr(cls, member.class_method_name) if hasattr(member, "method") else member.of_class.__func__
    return {name: describe_function(of_object), f"{name} (by id)": describe_function(of_class)}


def describe_class(cls):
    members = {}
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        if name.startswith("_"):
            continue
        if isinstance(member, property) or not (callable(getattr(cls, name)) or hasattr(member, "of_object")):
            members[name] = "attribute"
        else:
            members.update(split(name, member, cls))
    return members


def describe_data(cls):
    if issubclass(cls, enum.Enum):
        return {member.name: repr(member.value) for member in cls}
    if dataclasses.is_dataclass(cls):
        return {
            field.name: repr(field.default) if field.default is not dataclasses.MISSING else "no default"
            for field in dataclasses.fields(cls)
            if not field.name.startswith("_")
        }
    return dict.fromkeys(getattr(cls, "__required_keys__", ()), "required") | dict.fromkeys(
        getattr(cls, "__optional_keys__", ()), "optional"
    )


def find_part(sandbox, name):
    return typing.get_type_hints(inspect.getattr_static(sandbox, name).fget)["return"]


def find_classes():
    names = ("AsyncSandbox", "Sandbox", "AsyncCommandHandle", "CommandHandle", "AsyncWatchHandle", "WatchHandle")
    names += ("AsyncSandboxPaginator", "SandboxPaginator", "AsyncSnapshotPaginator", "SnapshotPaginator")
    names += ("AsyncCommandInputHandle",)
    found = {name: getattr(package, name) for name in names if hasattr(package, name)}
    templates = {name: getattr(package, name) for name in ("AsyncTemplate", "Template") if hasattr(package, name)}
    found.update(templates)
    for name, template in templates.items():
        found[f"{name}.builder"] = type(template().from_base_image())
    for sandbox in ("AsyncSandbox", "Sandbox"):
        for part in ("files", "commands", "pty"):
            found[f"{sandbox}.{part}"] = find_part(found[sandbox], part)
    return found


def describe_names():
    data, exceptions = {}, {}
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value) and issubclass(value, BaseException):
            exceptions[name] = [base.__name__ for base in value.__mro__ if base.__name__.endswith("Exception")]
        elif inspect.isclass(value) and (
            dataclasses.is_dataclass(value) or issubclass(value, enum.Enum) or hasattr(value, "__required_keys__")
        ):
            data[name] = describe_data(value)
    return data, exceptions


data, exceptions = describe_names()
paginators = {
    f"{name}()": {"()": describe_function(cls.__init__)}
    for name, cls in find_classes().items()
    if name.endswith(("Paginator", "Template"))
}
functions = {
    name: {"()": describe_function(getattr(package, name))}
    for name in ("default_build_logger", *(name for name in package.__all__ if name.startswith("wait_for_")))
    if hasattr(package, name)
}
surface = {
    "names": sorted(set(package.__all__)),
    "classes": {name: describe_class(cls) for name, cls in find_classes().items()} | paginators | functions,
    "data": data,
    "exceptions": exceptions,
}
print(json.dumps(surface))
