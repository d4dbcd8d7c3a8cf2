"""Our client's surface beside that of the official SDK: the newest one, and e2b 2.8.1.

Compared are the public names, the members of every class, the names, kinds, order and defaults of parameters,
the fields of data classes and the families of exceptions. Everything that 2.8.1 has must be there as it is; what
is there beyond it must be as the newest has it. What differs stands in DIFFERENCES with its reason, and leaves
the list when it has gone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.seed import find_seed_python, run

DESCRIBE = Path(__file__).with_name("describe_surface.py")

SEED_DEFAULT = "the two SDKs disagree, ours is that of 2.8.1; False is carried out where the newest ignores it"
BETTER = "more than the official one has, and never required"
GIT = "deprecated by E2B: git is run with commands.run()"
NO_TEMPLATE = "for a template of E2B's that Sandlot does not come with: devcontainer"
LATER = "not a part of the client yet"
TRANSPORT = "belongs to the official SDK's HTTP library"
OURS = "names a failure or a kind of object for which the official SDK has a foreign name, or none"

DIFFERENCES = {
    "AsyncSandbox.create(secure)": SEED_DEFAULT,
    "AsyncSandbox.create(allow_internet_access)": SEED_DEFAULT,
    "Sandbox.create(secure)": SEED_DEFAULT,
    "Sandbox.create(allow_internet_access)": SEED_DEFAULT,
    "AsyncSandbox.beta_create": "in 2.8.1, gone from the newest",
    "Sandbox.beta_create": "in 2.8.1, gone from the newest",
    "AsyncSandbox.beta_pause(strict)": "beta_pause is pause",
    "Sandbox.beta_pause(strict)": "beta_pause is pause",
    "AsyncSandbox.git": GIT,
    "Sandbox.git": GIT,
    "CommandHandle.stdout": BETTER,
    "CommandHandle.stderr": BETTER,
    "CommandHandle.error": BETTER,
    "CommandHandle.exit_code": BETTER,
    "Sandbox.commands.connect(on_stdout)": BETTER,
    "Sandbox.commands.connect(on_stderr)": BETTER,
    "AsyncTemplate.builder.beta_dev_container_prebuild": NO_TEMPLATE,
    "AsyncTemplate.builder.beta_set_dev_container_start": NO_TEMPLATE,
    "Template.builder.beta_dev_container_prebuild": NO_TEMPLATE,
    "Template.builder.beta_set_dev_container_start": NO_TEMPLATE,
    "ApiParams.validate_api_key": "has no effect in the newest SDK: what has none is not accepted here",
}

NAMES_WE_LACK = {
    "ApiClient client": TRANSPORT,
    "Volume AsyncVolume VolumeAndToken VolumeApiParams VolumeConnectionConfig VolumeEntryStat VolumeException "
    "VolumeFileType VolumeInfo VolumeNotFoundException VolumePathNotFoundException": LATER,
    "Secret AsyncSecret SecretException SecretInfo SecretNotFoundException SecretPaginator AsyncSecretPaginator": LATER,
    "E2B E2BClientParams": LATER,
    "Git GitAuthException GitBranches GitFileStatus GitResetMode GitStatus GitUpstreamException": GIT,
}

NAMES_OF_OURS = {
    "AsyncFileStreamReader FileStreamReader WriteEntry ProtocolException ServerUnreachableException "
    "TemplateBuilder TemplateFinal": OURS,
}

Surface = dict[str, Any]


@pytest.fixture(scope="module")
def ours() -> Surface:
    return describe(Path(sys.executable), "sandlot")


@pytest.fixture(scope="module")
def newest() -> Surface:
    return describe(Path(sys.executable), "e2b")


@pytest.fixture(scope="module")
def seed() -> Surface:
    return describe(find_seed_python(), "e2b")


def describe(python: Path, package: str) -> Surface:
    surface: Surface = json.loads(run(python, DESCRIBE, package))
    return surface


def words(reasons: dict[str, str]) -> set[str]:
    return {word for names in reasons for word in names.split()}


def test_it_differs_from_the_newest_only_where_we_say_so(ours: Surface, newest: Surface) -> None:
    assert sorted(compare_all(ours, newest)) == sorted(DIFFERENCES)


@pytest.mark.timeout(600)
def test_everything_of_the_seed_era_is_there(ours: Surface, newest: Surface, seed: Surface) -> None:
    differences = {each for each in compare_all(ours, seed) if each not in added_since(seed, newest)}
    assert differences <= DIFFERENCES.keys() | words(NAMES_WE_LACK), differences - DIFFERENCES.keys()


def test_public_names(ours: Surface, newest: Surface, seed: Surface) -> None:
    official = {*newest["names"], *seed["names"]}
    assert official - set(ours["names"]) == words(NAMES_WE_LACK)
    assert set(ours["names"]) - official == words(NAMES_OF_OURS)


def test_exceptions_have_the_same_families(ours: Surface, newest: Surface) -> None:
    shared = ours["exceptions"].keys() & newest["exceptions"].keys()
    assert {name: ours["exceptions"][name] for name in shared} == {name: newest["exceptions"][name] for name in shared}
    assert len(shared) >= 15


def compare_all(ours: Surface, theirs: Surface) -> Iterator[str]:
    """Name everything in which the classes and data differ."""
    for name, members in theirs["classes"].items():
        yield from compare_members(name, ours["classes"][name], members)
    for name in ours["data"].keys() & theirs["data"].keys():
        mine, other = ours["data"][name], theirs["data"][name]
        yield from (f"{name}.{field}" for field in mine.keys() | other.keys() if mine.get(field) != other.get(field))


def compare_members(name: str, ours: Surface, theirs: Surface) -> Iterator[str]:
    yield from (f"{name}.{member}" for member in ours.keys() ^ theirs.keys())
    for member in ours.keys() & theirs.keys():
        mine, other = ours[member], theirs[member]
        if isinstance(mine, str) or isinstance(other, str) or mine["awaited"] != other["awaited"]:
            if mine != other:
                yield f"{name}.{member}"
        else:
            yield from compare_parameters(f"{name}.{member}", mine["parameters"], other["parameters"])


def compare_parameters(name: str, ours: list[list[str]], theirs: list[list[str]]) -> Iterator[str]:
    differing = {parameter[0] for parameter in [*ours, *theirs] if parameter not in ours or parameter not in theirs}
    yield from (f"{name}({parameter})" for parameter in differing)
    mine, other = ([each[0] for each in parameters if each[0] not in differing] for parameters in (ours, theirs))
    if mine != other:
        yield f"{name}: order of parameters"


def added_since(seed: Surface, newest: Surface) -> set[str]:
    """What the newest SDK has and the seed's has not: there, ours is compared with the newest."""
    return set(compare_all(newest, seed))
