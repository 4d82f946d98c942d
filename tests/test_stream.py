"""The event stream: every subscriber gets everything, or is told how much it has missed."""

from __future__ import annotations

import anyio
import pytest

from engine.core.events import Event, PlanResumed
from engine.core.state import RunPhase
from engine.stream import EventStream, Missed

pytestmark = pytest.mark.anyio


def events(first: int, count: int) -> list[Event]:
    return [
        PlanResumed(seq=seq, utc=0.0, offset=0.0, run_id="r", cause="test", phase=RunPhase.RUNNING)
        for seq in range(first, first + count)
    ]


async def test_each_subscriber_gets_all_events_after_it_subscribed() -> None:
    stream = EventStream()
    early = stream.subscribe()
    stream.publish(events(1, 2))
    late = stream.subscribe()
    stream.publish(events(3, 1))
    assert [event.seq for event in early.take()] == [1, 2, 3]
    assert [event.seq for event in late.take()] == [3]
    assert early.take() == []


async def test_waiting_ends_with_the_first_event_and_iterating_with_the_stream() -> None:
    stream = EventStream()
    subscription = stream.subscribe()
    seen: list[int] = []

    async def read() -> None:
        async for batch in subscription:
            seen.extend(event.seq for event in batch)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        stream.publish(events(1, 3))
        await anyio.wait_all_tasks_blocked()
        assert seen == [1, 2, 3]
        stream.publish(events(4, 1))
        stream.end()
    assert seen == [1, 2, 3, 4]


async def test_a_subscriber_that_falls_behind_is_told_what_it_missed() -> None:
    stream = EventStream()
    slow, quick = stream.subscribe(limit=3), stream.subscribe()
    stream.publish(events(1, 2))
    stream.publish(events(3, 2))
    stream.publish(events(5, 1))
    assert await slow.wait()
    with pytest.raises(Missed, match="4 events") as caught:
        slow.take()
    assert caught.value.count == 4
    assert slow.dropped == 4
    stream.publish(events(6, 1))
    assert [event.seq for event in slow.take()] == [6]
    assert len(quick.take()) == 6
    assert quick.dropped == 0


async def test_a_closed_subscription_hears_nothing_more_and_closes_twice_without_harm() -> None:
    stream = EventStream()
    subscription = stream.subscribe()
    stream.publish(events(1, 1))
    subscription.close()
    subscription.close()
    stream.publish(events(2, 1))
    assert not await subscription.wait()
    assert subscription.take() == []


async def test_closing_wakes_whoever_waits() -> None:
    stream = EventStream()
    subscription = stream.subscribe()
    async with anyio.create_task_group() as group:
        answers: list[bool] = []

        async def wait() -> None:
            answers.append(await subscription.wait())

        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        subscription.close()
    assert answers == [False]


async def test_subscribing_after_the_end_gives_an_empty_stream() -> None:
    stream = EventStream()
    stream.end()
    assert [batch async for batch in stream.subscribe()] == []


async def test_listeners_hear_a_batch_before_any_subscriber_does() -> None:
    stream = EventStream()
    subscription = stream.subscribe()
    heard: list[tuple[int, int]] = []
    stream.listen(lambda batch: heard.append((len(batch), len(subscription.take()))))
    stream.publish(events(1, 2))
    assert heard == [(2, 0)]


async def test_a_stream_that_jumps_makes_every_subscriber_start_again() -> None:
    stream = EventStream()
    waiting, empty = stream.subscribe(), stream.subscribe()
    stream.publish(events(1, 2))
    empty.take()
    stream.lose(5)
    stream.publish(events(8, 1))
    with pytest.raises(Missed, match="7 events"):
        waiting.take()
    assert waiting.take() == [], "older than the snapshot that the subscriber now asks for"
    assert await empty.wait()
    with pytest.raises(Missed, match="5 events"):
        empty.take()


async def test_the_end_can_be_waited_for_without_taking_anything() -> None:
    stream = EventStream()
    subscription = stream.subscribe(limit=0)
    async with anyio.create_task_group() as group:
        group.start_soon(subscription.wait_end)
        group.start_soon(subscription.wait_end)
        stream.publish(events(1, 3))
        await anyio.wait_all_tasks_blocked()
        stream.end()
    await subscription.wait_end()
    assert subscription.dropped == 3
