"""From the events alone, the state that the scheduler was in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import Event
from engine.core.inputs import Start
from engine.core.records import AttemptRecord, Snapshot, TaskSnapshot
from engine.core.state import TERMINAL, RunPhase, TaskState
from engine.plan.graph import Graph
from engine.store.history import History
from engine.view.snapshot import snapshot_after
from tests.support.events import EventFactory
from tests.support.journals import DIAMOND, write_run
from tests.support.random_run import RandomRun

WAITING = (TaskState.PENDING, TaskState.READY)


class RecordedRun(RandomRun):
    """A random run of which every event is kept."""

    events: list[Event]

    def give(self, given: object) -> object:  # type: ignore[override]
        decision = super().give(given)  # type: ignore[arg-type]
        if isinstance(given, Start):
            self.events = []
        self.events += decision.events
        return decision


def check(restored: Snapshot, truth: Snapshot) -> None:
    assert (restored.run_id, restored.seq, restored.began) == (truth.run_id, truth.seq, truth.began)
    assert (restored.phase, restored.outcome) == (truth.phase, truth.outcome)
    assert (restored.failure_mode, restored.max_parallel) == (truth.failure_mode, truth.max_parallel)
    for found, task in zip(restored.tasks, truth.tasks, strict=True):
        if found.state is TaskState.RETRYING and task.state in WAITING:
            continue  # its back-off is over, which is no event
        assert found.state is task.state or {found.state, task.state} == set(WAITING)
        assert (found.held, found.tolerated, found.blocked_by) == (task.held, task.tolerated, task.blocked_by)
        assert found.stalled_since == task.stalled_since
        if task.state not in TERMINAL:
            assert found.retries == task.retries
        assert [record.number for record in found.attempts] == [record.number for record in task.attempts]


@given(st.integers(0, 2**32), st.integers(0, 60))
def test_what_is_restored_is_what_the_scheduler_knew(seed: int, steps: int) -> None:
    run = RecordedRun(seed, admits_at_once=True)
    for _ in range(steps):
        run.step()
    check(snapshot_after(run.graph, run.events), run.scheduler.snapshot())


def test_a_run_of_which_nothing_was_written_has_not_begun() -> None:
    snapshot = snapshot_after(Graph(DIAMOND), [], "run")
    assert (snapshot.run_id, snapshot.seq, snapshot.phase) == ("run", 0, RunPhase.PENDING)
    assert [task.state for task in snapshot.tasks] == [TaskState.READY, *[TaskState.PENDING] * 3]


def test_retries_count_from_the_last_reset(tmp_path: Path) -> None:
    made = EventFactory(Graph(DIAMOND), run_id="run")
    made.plan_started()
    made.started("A")
    made.completed("A")
    made.started("B")
    made.retry_scheduled("B")
    write_run(tmp_path, made.events)
    with History(tmp_path) as history:
        snapshot = snapshot_after(Graph(history.plan("run")), history.events("run"))
    assert snapshot.offset == made.offset
    assert snapshot.tasks[1] == TaskSnapshot(
        state=TaskState.RETRYING,
        attempts=(AttemptRecord(1, 3.0, 4.0, 1, "exit 1", retry_at=14.0),),
        due=14.0,
        retries=1,
    )
    made.reset("B")
    assert snapshot_after(made.graph, made.events).tasks[1].retries == 0


def test_an_attempt_that_was_cut_off_has_no_end() -> None:
    made = EventFactory(Graph(DIAMOND), run_id="run")
    made.plan_started()
    made.started("A", where="pid 4711")
    [task, *_] = snapshot_after(made.graph, made.events).tasks
    assert task.state is TaskState.RUNNING
    assert task.attempts == (AttemptRecord(1, 1.0, where="pid 4711"),)


@pytest.mark.parametrize("lost", range(2, 10))
def test_events_that_are_missing_do_not_stand_in_the_way(lost: int) -> None:
    made = EventFactory(Graph(DIAMOND), run_id="run")
    made.plan_started()
    for task in "ABCD":
        made.started(task)
        made.completed(task)
    kept = [event for event in made.events if event.seq != lost]
    snapshot = snapshot_after(made.graph, kept)
    assert sum(task.state is not TaskState.SUCCESS for task in snapshot.tasks) <= 1
