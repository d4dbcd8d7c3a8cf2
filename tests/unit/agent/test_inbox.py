"""What waits for a client that watches: in order, bounded, and honest about what was lost."""

from __future__ import annotations

import asyncio

from sandlot_envd.clock import Clock
from sandlot_envd.errors import Internal, ResourceExhausted
from sandlot_envd.filesystem import inbox
from sandlot_envd.filesystem.inbox import Inbox


def test_changes_come_in_order_and_once() -> None:
    box = Inbox()
    box.put("a", "CREATE")
    box.put("b", "WRITE", {"name": "b"})
    assert box.take() == [("a", "CREATE", None), ("b", "WRITE", {"name": "b"})]
    assert box.take() == []
    assert box.take_error() is None


def test_a_full_one_loses_what_comes_and_says_so_once() -> None:
    box = Inbox()
    for _ in range(inbox.MAX_WEIGHT + 5):
        box.put("a", "CREATE")
    assert len(box.take()) == inbox.MAX_WEIGHT
    assert isinstance(error := box.take_error(), ResourceExhausted)
    assert "overflow" in error.message
    assert box.take_error() is None
    box.put("b", "CREATE")
    assert box.take() == [("b", "CREATE", None)]


def test_entries_weigh_more() -> None:
    box = Inbox()
    for _ in range(inbox.MAX_WEIGHT):
        box.put("a", "CREATE", {})
    assert len(box.take()) == inbox.MAX_WEIGHT // inbox.ENTRY_WEIGHT


async def test_waiting_ends_with_a_change_an_error_or_the_time() -> None:
    box, clock = Inbox(), Clock()
    for wake in (lambda: box.put("a", "CREATE"), lambda: box.fail(Internal("broken"))):
        asyncio.get_running_loop().call_soon(wake)
        await asyncio.wait_for(box.wait(clock, 60), 5)
        box.take()
        box.take_error()
    await asyncio.wait_for(box.wait(clock, 0.01), 5)
    assert box.take() == []
