"""What an installation keeps in its home, and small rules that nothing else covers."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sandlot_server.errors import InvalidRequest
from sandlot_server.identity import find_installation, load_identity
from sandlot_server.names import parse_reference, parse_sandbox_id
from sandlot_server.runtime import seccomp
from sandlot_server.settings import Settings


def test_identity_is_made_once_and_kept_private(tmp_path: Path) -> None:
    assert find_installation(tmp_path) is None
    made = load_identity(tmp_path)
    assert load_identity(tmp_path) == made
    assert find_installation(tmp_path) == made.installation
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_tokens_differ_by_sandbox_and_purpose(tmp_path: Path) -> None:
    identity = load_identity(tmp_path)
    tokens = {
        identity.envd_token("a"),
        identity.envd_token("b"),
        identity.traffic_token("a"),
        identity.control_token("a"),
    }
    assert len(tokens) == 4
    assert identity.accepts_key(identity.api_key)
    assert not identity.accepts_key(identity.api_key + "x")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("base", ("base", None)),
        (" Team/Base:Default ", ("team/base", None)),
        ("a-b_c:v1.2", ("a-b_c", "v1.2")),
    ],
)
def test_references(text: str, reference: tuple[str, str | None]) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize("text", ["", "a b", "/a", "a/b/c", "a:", "a:b c", "a%"])
def test_references_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_reference(text)


def test_sandbox_ids() -> None:
    assert parse_sandbox_id("iabc-client") == "iabc"
    for text in ("", "-x", "a-b-c", "A", "a/b"):
        with pytest.raises(InvalidRequest):
            parse_sandbox_id(text)


def test_the_api_socket_of_a_deep_home_moves(tmp_path: Path) -> None:
    deep = Settings(home=tmp_path / ("x" * 90))
    assert len(str(deep.api_socket)) <= 100
    assert Settings(home=Path("/srv/s")).api_socket == Path("/srv/s/api.sock")


def test_the_seccomp_profile_names_each_call_once() -> None:
    refused = [name for names in seccomp.REFUSED.values() for name in names.split()]
    special = [*seccomp.MISSING.split(), *seccomp.RESTRICTED]
    assert len({*refused, *special}) == len(refused) + len(special)
    assert {"mount", "bpf", "io_uring_setup", "unshare", "keyctl"}.isdisjoint(seccomp.list_allowed())
    assert {"ptrace", "execve", "futex_waitv", "inotify_init1"} <= set(seccomp.list_allowed())
