"""When a task waited, ran, was stopping and sat out a back-off."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.state import TaskState
from engine.plan.graph import Graph
from engine.plan.model import Need, Plan, Retry, Task
from engine.view.course import Doing, Stretch, course
from engine.view.run_view import RunView
from tests.support.events import EventFactory
from tests.support.random_run import RandomRun


@pytest.fixture
def events() -> EventFactory:
    tasks = (
        Task(name="a", run="true"),
        Task(name="b", run="true", needs=(Need("a"),), retry=Retry(limit=2)),
    )
    made = EventFactory(Graph(Plan(name="p", tasks=tasks)), step=0.0)
    made.offset = 0.0
    made.plan_started()
    return made


def of(events: EventFactory, name: str) -> list[Stretch]:
    view = RunView(events.graph, "run")
    view.apply(events.events)
    return course(view, view.tasks[events.graph.index_of[name]])


def begin(events: EventFactory) -> None:
    """a waits for 2 s and runs for 3."""
    events.wait(2.0)
    events.started("a")
    events.wait(3.0)
    events.completed("a")


def test_what_could_start_and_does_not_waits(events: EventFactory) -> None:
    assert of(events, "a") == [Stretch(Doing.WAIT, 0.0, None)]
    assert of(events, "b") == []
    begin(events)
    assert of(events, "a") == [
        Stretch(Doing.WAIT, 0.0, 2.0),
        Stretch(Doing.RUN, 2.0, 5.0, TaskState.SUCCESS),
    ]
    assert of(events, "b") == [Stretch(Doing.WAIT, 5.0, None)]


def test_between_attempts_is_the_back_off_and_then_a_wait(events: EventFactory) -> None:
    begin(events)
    events.started("b")
    events.wait(1.0)
    events.retry_scheduled("b", 10.0)
    failed = [Stretch(Doing.RUN, 5.0, 6.0, TaskState.FAILED), Stretch(Doing.BACK_OFF, 6.0, 16.0)]
    assert of(events, "b") == [*failed, Stretch(Doing.WAIT, 16.0, None)]
    events.wait(12.0)
    events.started("b")
    assert of(events, "b") == [
        *failed,
        Stretch(Doing.WAIT, 16.0, 18.0),
        Stretch(Doing.RUN, 18.0, None, TaskState.RUNNING),
    ]


def test_a_back_off_that_was_cut_short_ends_with_the_next_attempt(events: EventFactory) -> None:
    begin(events)
    events.started("b")
    events.retry_scheduled("b", 10.0)
    events.wait(1.0)
    events.started("b")
    assert of(events, "b")[1:] == [
        Stretch(Doing.BACK_OFF, 5.0, 6.0),
        Stretch(Doing.RUN, 6.0, None, TaskState.RUNNING),
    ]


def test_a_stop_takes_its_time(events: EventFactory) -> None:
    begin(events)
    events.started("b")
    events.wait(1.0)
    events.stopping("b")
    assert of(events, "b")[-1] == Stretch(Doing.STOP, 6.0, None, TaskState.STOPPING)
    events.wait(2.0)
    events.cancelled("b")
    assert of(events, "b") == [
        Stretch(Doing.RUN, 5.0, 6.0),
        Stretch(Doing.STOP, 6.0, 8.0, TaskState.CANCELLED),
    ]
    events.reset("b")
    events.wait(1.0)
    assert of(events, "b")[-1] == Stretch(Doing.WAIT, 8.0, None)


def test_a_tolerated_failure_is_one_that_is_skipped(events: EventFactory) -> None:
    begin(events)
    events.started("b")
    events.tolerated("b")
    assert of(events, "b")[-1].outcome is TaskState.SKIPPED


@given(st.integers(0, 2**32), st.integers(1, 120))
def test_whatever_happens_stretches_follow_one_another(seed: int, steps: int) -> None:
    run = RandomRun(seed)
    for _ in range(steps):
        run.step()
    view = RunView.from_snapshot(run.graph, run.scheduler.snapshot())
    for task in view.tasks:
        stretches = course(view, task)
        assert all(stretch.end is None or stretch.start <= stretch.end for stretch in stretches)
        for stretch, following in pairwise(stretches):
            assert stretch.end is not None
            assert stretch.end <= following.start
        attempts = [stretch for stretch in stretches if stretch.outcome is not None]
        assert len(attempts) == len(task.attempts)
