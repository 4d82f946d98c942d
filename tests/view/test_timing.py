"""Times in words, and how long a run still takes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.state import RunPhase
from engine.plan.graph import Graph
from engine.plan.model import Need, Plan, Task
from engine.view.forecast import estimate
from engine.view.run_view import RunView
from engine.view.timing import Durations, Estimate, clock, rough, short
from tests.support.events import EventFactory


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0:00"), (0, "0:00"), (42.9, "0:42"), (724, "12:04"), (3723, "1:02:03"), (360_000, "100:00:00")],
)
def test_a_watch(seconds: float, words: str) -> None:
    assert clock(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0.0s"),
        (0.42, "0.4s"),
        (0.7, "0.7s"),
        (0.96, "0.9s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (2.97, "2.9s"),
        (9.99, "9.9s"),
        (31.8, "31s"),
        (59.7, "59s"),
        (90, "1m30s"),
        (3600, "1h"),
        (7800, "2h10m"),
        (86_400, "1d"),
        (3 * 86_400 + 4 * 3600 + 59, "3d4h"),
    ],
)
def test_a_span(seconds: float, words: str) -> None:
    assert short(seconds) == words


@given(st.floats(0, 100_000))
def test_a_span_is_never_longer_than_the_watch_beside_it_shows(seconds: float) -> None:
    *hours, minutes, rest = map(int, clock(seconds).split(":"))
    watch = 3600 * (hours[0] if hours else 0) + 60 * minutes + rest
    units = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
    told = sum(
        float(number) * units[unit] for number, unit in re.findall(r"([0-9.]+)([dhms])", short(seconds))
    )
    assert told < watch + 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.1, "5s"),
        (42, "40s"),
        (57, "55s"),
        (58, "1m"),
        (200, "3m"),
        (3599, "1h"),
        (4300, "1h10m"),
        (90_000, "1d1h"),
    ],
)
def test_a_guess(seconds: float, words: str) -> None:
    assert rough(seconds) == words


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Estimate(120, 180, 300), "about 3m left (2m-5m)"),
        (Estimate(41, 42, 42), "about 40s left"),
        (Estimate(1, 2, 6), "a few seconds left"),
        (Estimate(0, 0, 0), "a few seconds left"),
        (Estimate(41, 58, 3700), "roughly 1m left (40s-1h)"),
    ],
)
def test_what_is_left_in_words(given: Estimate, words: str) -> None:
    assert given.words() == words


def test_mean_and_deviation() -> None:
    durations = Durations()
    assert durations.deviation is None
    durations.add(2.0)
    assert durations.deviation is None
    for seconds in (4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0):
        durations.add(seconds)
    assert (durations.count, durations.mean) == (8, 5.0)
    assert durations.deviation == pytest.approx((32 / 7) ** 0.5)


def chain(length: int, *, slots: int = 4) -> EventFactory:
    tasks = tuple(
        Task(name=f"t{n}", run="true", needs=(Need(f"t{n - 1}"),) if n else ()) for n in range(length)
    )
    return EventFactory(Graph(Plan(name="chain", tasks=tasks, max_parallel=slots)))


def side_by_side(width: int, *, slots: int = 4) -> EventFactory:
    tasks = tuple(Task(name=f"t{n}", run="true") for n in range(width))
    return EventFactory(Graph(Plan(name="wide", tasks=tasks, max_parallel=slots)))


def run(events: EventFactory, *tasks: int, seconds: float = 9.0) -> None:
    """Run tasks one after the other; each takes `seconds` and one more, the step of the factory."""
    for number in tasks:
        events.started(f"t{number}")
        events.wait(seconds)
        events.completed(f"t{number}")


def guess(events: EventFactory, after: float = 0.0) -> Estimate | None:
    view = RunView(events.graph, "run")
    view.apply(events.events)
    return estimate(view, events.offset + after)


def test_nothing_is_known_before_the_first_success() -> None:
    events = chain(3)
    assert guess(events) is None
    events.plan_started()
    events.started("t0")
    assert guess(events) is None


def test_a_chain_takes_its_tasks_one_by_one_however_many_slots_there_are() -> None:
    events = chain(6)
    events.plan_started()
    run(events, 0, 1)
    left = guess(events)
    assert left is not None
    assert left.likely == pytest.approx(40.0)
    assert left.low <= left.likely <= left.high
    events.started("t2")
    left = guess(events, after=4.0)
    assert left is not None
    assert left.likely == pytest.approx(36.0, rel=0.1)


def test_tasks_side_by_side_share_the_slots() -> None:
    events = side_by_side(42, slots=4)
    events.plan_started()
    run(events, 0, 1)
    left = guess(events)
    assert left is not None
    assert left.likely == pytest.approx(100.0)
    assert left.low < 100.0 < left.high


def test_a_task_that_takes_longer_than_usual_is_given_some_more() -> None:
    events = side_by_side(2)
    events.plan_started()
    run(events, 0)
    events.started("t1")
    left = guess(events, after=100.0)
    assert left is not None
    assert left.likely == pytest.approx(2.5)


def test_the_more_is_known_and_the_more_it_agrees_the_narrower_is_the_range() -> None:
    events = side_by_side(100)
    events.plan_started()
    run(events, 0)
    few = guess(events)
    run(events, *range(1, 20))
    many = guess(events)
    assert few is not None
    assert many is not None
    assert (many.high - many.low) / many.likely < (few.high - few.low) / few.likely / 3


def test_what_is_drained_or_paused_or_complete_is_not_waited_for() -> None:
    events = side_by_side(40)
    events.plan_started()
    run(events, 0)
    events.paused(RunPhase.PAUSED)
    assert guess(events) is None
    events.paused(RunPhase.DRAINING)
    assert guess(events) == Estimate(0.0, 0.0, 0.0)
    events.started("t1")
    left = guess(events)
    assert left is not None
    assert left.likely == pytest.approx(10.0, rel=0.3)
    events.completed("t1")
    events.plan_completed()
    assert guess(events) is None


def test_what_has_been_settled_by_hand_is_not_waited_for() -> None:
    events = chain(3)
    events.plan_started()
    run(events, 0)
    events.started("t1")
    events.skipped("t2", "skipped by operator")  # a second later
    left = guess(events)
    assert left is not None
    assert left.likely == pytest.approx(9.0, rel=0.4)
