"""Which events a person has brought about: judged against who gave the command."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import Event, PlanCompleted, PlanStarted, TaskEvent
from engine.core.inputs import Command
from engine.core.state import TaskState
from engine.view.audit import is_steering, is_trouble
from tests.support.random_run import RandomRun


@given(st.integers(0, 2**32), st.integers(1, 150))
def test_what_somebody_asked_for_is_told_from_what_came_by_itself(seed: int, steps: int) -> None:
    run = RandomRun(seed)
    handle = run._handle

    def named(given: object) -> object:
        if isinstance(given, Command):
            given = msgspec.structs.replace(given, actor="anna@pts/3")
        return handle(given)  # type: ignore[arg-type]

    run._handle = named  # type: ignore[method-assign, assignment]
    for _ in range(steps):
        for event in run.step().events:
            if is_steering(event):
                assert event.cause == "anna@pts/3"
            elif event.cause == "anna@pts/3":  # what a stop that was asked for leaves undone
                assert isinstance(event, TaskEvent)
                assert event.state in (TaskState.RUNNING, TaskState.SUCCESS)
            assert not (is_steering(event) and is_trouble(event))


def test_a_beginning_is_neither_and_a_bad_end_is_trouble() -> None:
    run = RandomRun(7)
    seen: list[Event] = []
    for _ in range(300):
        seen += run.step().events
    ends = [event for event in seen if isinstance(event, PlanCompleted)]
    assert ends
    for event in ends:
        assert is_trouble(event) == (event.outcome != "success")
    assert not any(is_steering(event) for event in seen if isinstance(event, PlanStarted))
