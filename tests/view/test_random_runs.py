"""Whatever legal thing happens in a run, the view says what a plain recount says, and so does a late one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import TaskFailed
from engine.core.state import TERMINAL, TaskState
from engine.view.run_view import RunView
from engine.view.task_view import TaskView
from tests.support.random_run import RandomRun

seeds = st.integers(0, 2**32)
WAITING = (TaskState.PENDING, TaskState.READY)


def shown(view: RunView, *, besides: set[int]) -> dict[str, Any]:
    """All that a view shows, without what only those know who were there from the start."""
    return {
        "phase": view.phase,
        "outcome": view.outcome,
        "mode": view.failure_mode,
        "slots": view.max_parallel,
        "stalled": list(view.stalled.items()),
        "tasks": [_shown(task) for task in view.tasks if task.index not in besides],
    }


def _shown(task: TaskView) -> tuple[object, ...]:
    return (
        task.state,
        [
            (record.number, record.started, record.ended, record.exit_code, record.error)
            for record in task.attempts
        ],
        task.held,
        task.stalled_since,
        task.unmet,
        task.blocked_by,
        task.tolerated,
        task.error,
        task.exit_code,
        task.max_attempts,
    )


def unannounced(run: RandomRun, view: RunView) -> set[int]:
    """Tasks that have moved without an event: their back-off is over, and they wait for a slot."""
    return {
        task.index
        for task in view.tasks
        if task.state is TaskState.RETRYING and run.scheduler.ledger.state[task.index] in WAITING
    }


def excused(view: RunView, index: int) -> bool:
    around = {view.tasks[parent].state for parent in view.graph.nesting.around(index)}
    return not around.isdisjoint({TaskState.SUCCESS, TaskState.SKIPPED})


def check_recount(view: RunView) -> None:
    subplans = view.graph.nesting.inside
    work = [task for task in view.tasks if task.index not in subplans]
    states = [task.state for task in work]
    assert view.counts == {state: states.count(state) for state in TaskState}
    active = [task.index for task in work if task.state in (TaskState.RUNNING, TaskState.STOPPING)]
    for parent, inside in subplans.items():
        scope = view.scopes.subplan(parent)
        assert scope is not None
        ends = [task.state in TERMINAL for task in work if task.index in inside]
        used = len(view.active.intersection(inside))
        assert (scope.total, scope.finished, scope.used) == (len(ends), sum(ends), used)
    assert view.active == set(active)
    assert view.slots_used == len(active)
    ended = sum(state in TERMINAL for state in states)
    going = sum(state in (TaskState.RUNNING, TaskState.STOPPING, TaskState.RETRYING) for state in states)
    assert view.health == states.count(TaskState.SUCCESS) / max(1, ended + going)
    assert view.progress == (ended / len(states) if states else 1.0)
    assert sorted(view.failures) == [
        task.index for task in view.tasks if task.state is TaskState.FAILED and not excused(view, task.index)
    ]
    assert list(view.stalled) == sorted(view.stalled, key=lambda index: (view.stalled[index], index))


def check_against_scheduler(run: RandomRun, view: RunView) -> None:
    ledger = run.scheduler.ledger
    for task in view.tasks:
        index = task.index
        truth = ledger.state[index]
        if truth is TaskState.READY and ledger.count_unmet(index):
            truth = TaskState.PENDING  # a need was reset while a dispatcher had it in its hands
        if index not in unannounced(run, view):
            assert task.state is truth
        assert task.unmet == ledger.count_unmet(index)
        assert task.held == (index in ledger.held)
        assert task.tolerated == (index in ledger.tolerated)
        assert view.stalled.get(index) == ledger.stalled.get(index)
    assert view.phase is run.scheduler.phase
    assert view.outcome is run.scheduler.outcome
    assert view.max_parallel == run.scheduler.max_parallel
    assert view.failure_mode is run.scheduler.failure_mode


@given(seeds)
def test_the_view_says_at_every_moment_what_the_scheduler_knows(seed: int) -> None:
    run = RandomRun(seed)
    view = RunView.from_snapshot(run.graph, run.scheduler.snapshot())
    order_of_failures: dict[int, int] = {}
    for _ in range(80):
        events = run.step().events
        view.apply(events)
        check_recount(view)
        check_against_scheduler(run, view)
        order_of_failures.update({event.index: event.seq for event in events if type(event) is TaskFailed})
        assert view.failures == sorted(view.failures, key=order_of_failures.__getitem__)
        for task in view.tasks:
            phrase = view.why(task.index, run.offset)
            assert phrase or task.state in (TaskState.RUNNING, TaskState.SUCCESS)


@given(seeds, st.integers(0, 60))
def test_who_joins_late_sees_the_same(seed: int, joined: int) -> None:
    run = RandomRun(seed)
    early = RunView.from_snapshot(run.graph, run.scheduler.snapshot())
    log = []
    for _ in range(joined):
        events = run.step().events
        early.apply(events)
        log += events
    late = RunView.from_snapshot(run.graph, run.scheduler.snapshot())
    late.apply(log)  # they are in the snapshot already
    besides = unannounced(run, early)
    # an attempt that is taken up while it is told to stop already is no event: the snapshot knows of it
    unseen = {
        task.index
        for task in early.tasks
        if len(task.attempts) < len(run.scheduler.ledger.history[task.index] or ())
    }
    assert shown(late, besides=besides | unseen) == shown(early, besides=besides | unseen)
    for _ in range(80):
        events = run.step().events
        early.apply(events)
        late.apply(events)
        besides &= unannounced(run, early)
        assert shown(late, besides=besides | unseen) == shown(early, besides=besides | unseen)
