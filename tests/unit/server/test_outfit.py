"""Certificates and a proxy for sandboxes, from the settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from sandlot_server.outfit import Outfit, load_outfit
from sandlot_server.settings import Settings


def test_nothing_by_default(tmp_path: Path) -> None:
    assert load_outfit(Settings(home=tmp_path)) == Outfit()


def test_a_proxy_in_both_spellings(tmp_path: Path) -> None:
    env = load_outfit(Settings(home=tmp_path, http_proxy="http://198.51.100.9:3128", no_proxy="a,b")).env
    assert {env[name] for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY")} == {
        "http://198.51.100.9:3128"
    }
    assert env["no_proxy"] == env["NO_PROXY"] == "a,b"


def test_certificates(tmp_path: Path) -> None:
    pem = tmp_path / "root.pem"
    trustme.CA().cert_pem.write_to_path(str(pem))
    assert load_outfit(Settings(home=tmp_path, extra_ca=pem)).ca_bundle == pem.read_text()


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_certificates_that_are_none(tmp_path: Path, content: str | None) -> None:
    pem = tmp_path / "root.pem"
    if content is not None:
        pem.write_text(content)
    with pytest.raises(ValueError, match="SANDLOT_EXTRA_CA"):
        load_outfit(Settings(home=tmp_path, extra_ca=pem))
