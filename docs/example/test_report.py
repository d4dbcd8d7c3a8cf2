from __future__ import annotations

import asyncio

import pytest
from report import summarise

from sandlot import AsyncSandbox, CommandExitException, Sandbox
from sandlot.pytest_plugin import SandlotServer


def test_sums(sandbox: Sandbox) -> None:
    assert summarise(sandbox, "Oslo,2\nLima,5\nOslo,1\n") == ["Lima 5", "Oslo 3"]


def test_a_table_that_is_none(sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException, match="not enough values"):
        summarise(sandbox, "Oslo\n")


def test_each_test_has_a_sandbox_of_its_own(sandbox: Sandbox) -> None:
    assert not sandbox.files.exists("table.csv")


def test_asynchronous(async_sandbox: AsyncSandbox) -> None:
    async def run() -> str:
        return (await async_sandbox.commands.run("echo hi")).stdout

    assert asyncio.run(run()) == "hi\n"


def test_a_sandbox_that_a_test_makes_itself(sandlot_server: SandlotServer) -> None:
    with Sandbox.create(metadata=sandlot_server.metadata) as sandbox:
        assert sandbox.is_running()
