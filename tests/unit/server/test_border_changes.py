"""Whose policy holds at an address, before a firewall that only notes what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandlot_server.border.border import Border
from sandlot_server.border.policy import EVERYTHING, Policy
from sandlot_server.errors import IsolationFailed
from sandlot_server.runtime.firewall import Firewall, Place
from sandlot_server.settings import Settings

CLOSED = Policy(denied=(EVERYTHING,))
NAMED = Policy(denied=(EVERYTHING,), domains=("a.example",))
PLACE = Place("sl-none", "10.213.0.0/24", "127.0.0.1")
ONE, OTHER = "10.213.0.2", "10.213.0.3"


class Host:
    """Notes the rules that it is given, and refuses them on demand."""

    def __init__(self) -> None:
        self.table = ""
        self.installs = 0
        self.refuses = False

    def run(self, command: list[str]) -> str:
        if self.refuses:
            raise IsolationFailed("nft failed")
        if command[1:4] == ["list", "table", "inet"]:
            return self.table
        if "table inet" in command[1]:
            self.table = command[1]
            self.installs += 1
        return ""


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
async def border(tmp_path: Path, host: Host) -> AsyncIterator[Border]:
    border = Border(Settings(home=tmp_path), Firewall("test", PLACE, run_in_host=host.run), PLACE)
    await border.open()
    yield border
    await border.close()


async def test_a_policy_is_rules_at_an_address(border: Border, host: Host) -> None:
    assert ONE not in host.table
    await border.confine(ONE, "a", NAMED)
    assert border.find(ONE) == NAMED
    assert f"{ONE} : goto policy_10_213_0_2" in host.table
    assert f"{ONE} : goto detour_10_213_0_2" in host.table
    await border.confine(ONE, "a", None)
    assert border.find(ONE) is None
    assert ONE not in host.table


async def test_what_changes_nothing_costs_nothing(border: Border, host: Host) -> None:
    await border.confine(ONE, "a", CLOSED)
    before = host.installs
    await border.confine(ONE, "a", CLOSED)
    await border.confine(OTHER, "b", None)
    await border.release("c")
    assert host.installs == before


async def test_an_address_that_was_another_s(border: Border, host: Host) -> None:
    await border.confine(ONE, "dead", CLOSED)
    await border.confine(ONE, "b", None)
    assert ONE not in host.table
    await border.confine(ONE, "dead", CLOSED)
    await border.confine(ONE, "b", NAMED)
    await border.release("dead")
    assert border.find(ONE) == NAMED


async def test_a_container_that_moved(border: Border, host: Host) -> None:
    await border.confine(ONE, "a", CLOSED)
    await border.confine(OTHER, "a", CLOSED)
    assert border.find(ONE) is None
    assert ONE not in host.table
    assert OTHER in host.table


async def test_rules_that_cannot_be_changed(border: Border, host: Host) -> None:
    await border.confine(ONE, "a", NAMED)
    before, host.refuses = host.table, True
    for change in (border.confine(ONE, "a", None), border.confine(OTHER, "b", CLOSED), border.release("a")):
        with pytest.raises(IsolationFailed):
            await change
    assert host.table == before
    assert border.find(ONE) == NAMED
    assert border.find(OTHER) is None


async def test_many_changes_at_once_all_hold(border: Border, host: Host) -> None:
    addresses = [f"10.213.0.{number}" for number in range(2, 42)]
    await asyncio.gather(*(border.confine(address, address, CLOSED) for address in addresses))
    assert all(f"{address} : goto" in host.table for address in addresses)


async def test_the_next_server_leaves_the_rules_until_it_knows_better(
    border: Border, host: Host, tmp_path: Path
) -> None:
    await border.confine(ONE, "a", CLOSED)
    following = Border(Settings(home=tmp_path), Firewall("test", PLACE, run_in_host=host.run), PLACE)
    await following.open()
    try:
        assert ONE in host.table
        await following.confine_all({OTHER: ("b", CLOSED)})
        assert ONE not in host.table
        assert OTHER in host.table
    finally:
        await following.close()


async def test_a_gateway_that_is_not_here(tmp_path: Path, host: Host) -> None:
    far = Place("sl-none", "198.51.100.0/24", "198.51.100.1")
    border = Border(Settings(home=tmp_path), Firewall("test", far, run_in_host=host.run), far)
    with pytest.raises(IsolationFailed, match="network of the engine's host"):
        await border.open()
    await border.close()
