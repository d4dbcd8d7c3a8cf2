"""Counting what is in folders, with the `du` of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandlot_server.runtime.docker_disk import count_folders

MIB = 1024 * 1024


def test_holes_and_second_names_count_nothing(tmp_path: Path) -> None:
    plain, holed = tmp_path / "plain\nfolder", tmp_path / "holed"
    for folder in (plain, holed):
        folder.mkdir()
    (plain / "file").write_bytes(os.urandom(3 * MIB))
    os.link(plain / "file", plain / "again")
    with (holed / "file").open("wb") as file:
        file.truncate(10 * MIB)
    counted = count_folders([str(plain), str(holed), str(tmp_path / "none")])
    assert set(counted) == {str(plain), str(holed)}
    assert 3 * MIB <= counted[str(plain)] < 4 * MIB
    assert counted[str(holed)] < MIB
    assert count_folders([str(holed)], holes=True)[str(holed)] >= 10 * MIB


def test_nothing_to_count() -> None:
    assert count_folders([]) == {}


@pytest.mark.parametrize("names", [1, 500])
def test_what_takes_too_long_is_left_out(tmp_path: Path, names: int) -> None:
    for number in range(names):
        (tmp_path / str(number)).touch()
    assert count_folders([str(tmp_path)], within_s=0) == {}
