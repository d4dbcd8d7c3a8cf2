"""One process's events to many listeners, some of which do not listen."""

from __future__ import annotations

import asyncio

import pytest

from sandlot_envd.clock import Clock
from sandlot_envd.errors import ResourceExhausted
from sandlot_envd.process import fanout as module
from sandlot_envd.process.fanout import HIGH_WATER, KEEPALIVE, Event, Fanout, Subscriber


class Source:
    """Publishes numbered events of 64 KiB as long as nobody asks it to wait."""

    def __init__(self) -> None:
        self.is_paused = False
        self.published = 0
        self.fanout = Fanout(Clock(), self._set_pressure)

    def _set_pressure(self, wanted: bool) -> None:
        self.is_paused = wanted

    def publish_all(self) -> None:
        while not self.is_paused:
            self.published += 1
            self.fanout.publish({"n": self.published}, 65536)


async def take(subscriber: Subscriber, count: int) -> list[Event]:
    events = [await subscriber.next() for _ in range(count)]
    return [event for event in events if event is not None]


async def test_everybody_gets_everything_in_order() -> None:
    source = Source()
    first, second = source.fanout.subscribe(60), source.fanout.subscribe(60)
    for n in range(3):
        source.fanout.publish({"n": n})
    source.fanout.close()
    for one in (first, second):
        assert [await one.next() for _ in range(4)] == [{"n": 0}, {"n": 1}, {"n": 2}, None]
        one.leave()


async def test_what_nobody_hears_is_not_kept() -> None:
    source = Source()
    for n in range(100):
        source.fanout.publish({"n": n}, HIGH_WATER)
    assert not source.is_paused
    subscriber = source.fanout.subscribe(60)
    source.fanout.publish({"n": "heard"})
    assert await subscriber.next() == {"n": "heard"}
    subscriber.leave()


async def test_a_slow_listener_slows_the_source_and_loses_nothing() -> None:
    source = Source()
    slow = source.fanout.subscribe(60)
    received: list[Event] = []
    for _ in range(5):
        source.publish_all()
        assert slow.waiting <= HIGH_WATER
        while source.is_paused:
            received += await take(slow, 1)
    assert received == [{"n": n} for n in range(1, len(received) + 1)]
    slow.leave()


async def test_leaving_relieves_the_source() -> None:
    source = Source()
    slow = source.fanout.subscribe(60)
    source.publish_all()
    slow.leave()
    assert not source.is_paused


async def test_one_stalled_listener_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.1)
    source = Source()
    stalled, eager = source.fanout.subscribe(60), source.fanout.subscribe(60)
    source.publish_all()
    await take(eager, source.published)
    async with asyncio.timeout(5):
        while source.is_paused:
            await asyncio.sleep(0.01)
    source.fanout.publish({"n": "more"})
    assert await eager.next() == {"n": "more"}
    with pytest.raises(ResourceExhausted):
        await stalled.next()
    for one in (stalled, eager):
        one.leave()


async def test_a_listener_alone_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.05)
    source = Source()
    only = source.fanout.subscribe(60)
    source.publish_all()
    await asyncio.sleep(0.2)
    assert len(await take(only, source.published)) == source.published
    # Somebody comes who would have to wait for it: then its time is counted.
    source.publish_all()
    newcomer = source.fanout.subscribe(60)
    async with asyncio.timeout(5):
        while source.is_paused:
            await asyncio.sleep(0.01)
    for one in (only, newcomer):
        one.leave()


async def test_keepalives_count_from_the_last_event() -> None:
    source = Source()
    subscriber = source.fanout.subscribe(0.3)
    start = asyncio.get_running_loop().time()
    asyncio.get_running_loop().call_later(0.2, source.fanout.publish, {"n": 1})
    assert await subscriber.next() == {"n": 1}
    assert await subscriber.next() is KEEPALIVE
    assert asyncio.get_running_loop().time() - start >= 0.48
    assert await subscriber.next() is KEEPALIVE
    subscriber.leave()
