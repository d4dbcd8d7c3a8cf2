"""Certificates that are added to an image's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandlot_envd.trust import BUNDLES, EXTRA, trust

PEM = "-----BEGIN CERTIFICATE-----\nextra\n-----END CERTIFICATE-----"


@pytest.mark.parametrize("bundle", BUNDLES)
def test_they_are_added_once_to_the_bundle_that_there_is(tmp_path: Path, bundle: str) -> None:
    present = Path(f"{tmp_path}{bundle}")
    present.parent.mkdir(parents=True)
    present.write_text("usual")
    for _ in range(2):
        assert trust(PEM, str(tmp_path)) == {
            "NODE_EXTRA_CA_CERTS": EXTRA,
            "REQUESTS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
        }
    assert present.read_text() == f"usual\n{PEM}\n"
    assert Path(f"{tmp_path}{EXTRA}").read_text() == f"{PEM}\n"


def test_an_image_without_any_gets_one(tmp_path: Path) -> None:
    assert trust(PEM, str(tmp_path))["SSL_CERT_FILE"] == BUNDLES[0]
    assert Path(f"{tmp_path}{BUNDLES[0]}").read_text() == f"{PEM}\n"
