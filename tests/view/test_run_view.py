"""Events in, what is shown out."""

from __future__ import annotations

import pytest

from engine.core.events import EVENT_TYPES
from engine.core.records import AttemptRecord, Snapshot, TaskSnapshot
from engine.core.state import Outcome, RunPhase, TaskState
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode, Need, Plan, Retry, Task
from engine.view import run_view, tally
from engine.view.run_view import RunView
from tests.support import recordings
from tests.support.events import EventFactory


def plan(**needs: str | dict[str, str]) -> Graph:
    """`plan(a="", b="a", c={"a": "failed"})`, every task with two retries."""
    tasks = []
    for name, given in needs.items():
        conditions = dict.fromkeys(given.split(), "success") if isinstance(given, str) else given
        needed = tuple(Need(task, Condition(condition)) for task, condition in conditions.items())
        tasks.append(Task(name=name, run="true", needs=needed, retry=Retry(limit=2)))
    return Graph(Plan(name="plan", tasks=tuple(tasks)))


def seen(events: EventFactory) -> RunView:
    view = RunView(events.graph, "run")
    view.apply(events.events)
    return view


def states(view: RunView) -> str:
    return " ".join(f"{task.name}:{task.state}" for task in view.tasks)


@pytest.fixture
def diamond() -> EventFactory:
    events = EventFactory(plan(a="", b="a", c="a", d="b c"))
    events.plan_started()
    return events


def test_every_type_of_event_is_folded() -> None:
    assert set(run_view._FOLD) == set(EVENT_TYPES.values())


# ── health, progress, counts ────────────────────────────────────────────────────────────────────


def test_the_health_of_a_diamond_goes_up_and_down_with_what_runs() -> None:
    recording = recordings.read("diamond")
    view = RunView(recording.graph, "run")
    course = []
    for event in recording.events[1:-1]:
        view.apply([event])
        course.append(round(view.health, 2))
    assert course == [0, 1, 0.5, 0.33, 0.67, 1, 0.75, 1]
    assert [round(health, 2) for health in view.health_course] == course
    assert view.progress == 1.0


def test_a_failure_and_what_it_skips_halve_the_health_of_a_diamond() -> None:
    recording = recordings.read("diamond-failed")
    view = RunView(recording.graph, "run")
    view.apply(recording.events)
    assert states(view) == "a:success b:failed c:success d:skipped"
    assert view.health == 0.5
    assert view.outcome is Outcome.FAILED


def test_stopping_and_retrying_count_as_running_and_cancelled_as_failed(diamond: EventFactory) -> None:
    diamond.started("a")
    diamond.completed("a")
    diamond.started("b")
    diamond.stopping("b")
    diamond.started("c")
    diamond.retry_scheduled("c")
    view = seen(diamond)
    assert view.health == pytest.approx(1 / 3)
    assert view.slots_used == 1
    diamond.cancelled("b")
    view = seen(diamond)
    assert view.health == pytest.approx(1 / 3)
    assert view.progress == 0.5
    assert view.counts[TaskState.CANCELLED] == 1


def test_before_anything_has_started_health_and_progress_are_nought(diamond: EventFactory) -> None:
    view = RunView(diamond.graph, "run")
    assert (view.health, view.progress, view.health_course) == (0.0, 0.0, [])
    assert RunView(plan(), "run").progress == 1.0


def test_the_course_keeps_the_last_changes() -> None:
    events = EventFactory(plan(**{f"t{number}": "" for number in range(100)}))
    for number in range(100):
        events.started(f"t{number}")
        events.completed(f"t{number}")
    course = seen(events).health_course
    assert len(course) == tally.COURSE_LIMIT
    assert course[-1] == 1.0
    assert course[0] == pytest.approx(70 / 71)


# ── ready and pending ───────────────────────────────────────────────────────────────────────────


def test_a_task_is_ready_once_all_it_needs_is_met(diamond: EventFactory) -> None:
    view = RunView(diamond.graph, "run")
    assert states(view) == "a:ready b:pending c:pending d:pending"
    for task in ("a", "b"):
        diamond.started(task)
        diamond.completed(task)
    assert states(seen(diamond)) == "a:success b:success c:ready d:pending"


def test_a_reset_makes_what_needs_it_wait_again(diamond: EventFactory) -> None:
    diamond.started("a")
    diamond.completed("a")
    diamond.reset("a")
    assert states(seen(diamond)) == "a:ready b:pending c:pending d:pending"


@pytest.mark.parametrize(
    ("end", "ready"),
    [
        ("completed", "good any"),
        ("failed", "bad any"),
        ("skipped", "any none"),
        ("cancelled", "any"),
        ("tolerated", "good any none"),
    ],
)
def test_each_end_meets_the_needs_that_ask_for_it(end: str, ready: str) -> None:
    needs = {"good": "success", "bad": "failed", "any": "finished", "none": "skipped"}
    graph = plan(a="", **{name: {"a": condition} for name, condition in needs.items()})
    events = EventFactory(graph)
    events.started("a")
    getattr(events, end)("a")
    view = seen(events)
    assert " ".join(task.name for task in view.tasks if task.state is TaskState.READY) == ready
    events.reset("a")
    assert states(seen(events)) == "a:ready good:pending bad:pending any:pending none:pending"


def test_a_task_that_runs_is_left_alone_when_a_need_is_reset(diamond: EventFactory) -> None:
    for task in ("a", "b"):
        diamond.started(task)
        diamond.completed(task)
    diamond.reset("a")
    view = seen(diamond)
    assert states(view) == "a:ready b:success c:pending d:pending"
    assert view.tasks[1].unmet == 1
    diamond.reset("b")
    assert states(seen(diamond)) == "a:ready b:pending c:pending d:pending"


# ── attempts ────────────────────────────────────────────────────────────────────────────────────


def test_the_history_of_attempts_is_kept_across_retries_and_resets(diamond: EventFactory) -> None:
    diamond.started("a", "pid 7")
    diamond.retry_scheduled("a", error="exit 75", exit_code=75)
    view = seen(diamond)
    assert (view.tasks[0].attempt, view.tasks[0].error, view.tasks[0].due) == (1, "exit 75", 12.0)
    diamond.wait(10)
    diamond.started("a", "pid 8")
    diamond.failed("a", "exit 2", 2)
    diamond.reset("a")
    diamond.started("a", "pid 9")
    task = seen(diamond).tasks[0]
    assert task.attempts == [
        AttemptRecord(1, 1.0, 2.0, 75, "exit 75", "pid 7", retry_at=12.0),
        AttemptRecord(2, 13.0, 14.0, 2, "exit 2", "pid 8"),
        AttemptRecord(3, 16.0, None, None, None, "pid 9"),
    ]
    assert (task.attempt, task.max_attempts, task.error, task.exit_code) == (3, 3, "exit 2", 2)
    assert task.elapsed(20.0) == 4.0
    assert task.due is None
    assert repr(task) == "<TaskView 0 'a' running attempt 3>"


def test_attempts_that_a_person_asks_for_come_on_top(diamond: EventFactory) -> None:
    for _ in range(4):
        diamond.started("a")
        diamond.failed("a")
        diamond.reset("a")
    assert seen(diamond).tasks[0].max_attempts == 4


def test_a_task_without_attempts_has_nothing_to_tell(diamond: EventFactory) -> None:
    task = seen(diamond).tasks[0]
    assert (task.attempt, task.error, task.exit_code, task.elapsed(5.0)) == (0, None, None, None)


def test_an_attempt_that_was_taken_up_while_it_stopped_is_known_by_its_end(diamond: EventFactory) -> None:
    diamond.stopping("a")
    diamond.attempt["a"] = 1
    diamond.cancelled("a", duration=0.5)
    assert seen(diamond).tasks[0].attempts == [
        AttemptRecord(1, 1.5, 2.0, None, "cancelled by operator", stopping=1.5, is_cancelled=True)
    ]


def test_marking_as_done_makes_no_attempt(diamond: EventFactory) -> None:
    diamond.completed("a", reason="done by hand")
    view = seen(diamond)
    assert view.tasks[0].attempts == []
    assert view.pace.known == 0
    assert states(view) == "a:success b:ready c:ready d:pending"


# ── failures, stalls, marks ─────────────────────────────────────────────────────────────────────


def test_failures_stand_in_the_order_in_which_they_happened() -> None:
    events = EventFactory(plan(a="", b="", c=""))
    for task in "cab":
        events.started(task)
        events.failed(task)
    assert seen(events).failures == [2, 0, 1]
    events.reset("a")
    assert seen(events).failures == [2, 1]
    events.started("a")
    events.failed("a")
    assert seen(events).failures == [2, 1, 0]


def test_stalls_stand_oldest_first_and_end_with_life_or_the_attempt() -> None:
    events = EventFactory(plan(a="", b="", c=""))
    for task in "abc":
        events.started(task)
    events.wait(100)
    events.stalled("a", 10.0)
    events.stalled("b", 60.0)
    events.stalled("c", 30.0)
    view = seen(events)
    assert list(view.stalled.items()) == [(1, 44.0), (2, 75.0), (0, 93.0)]
    assert view.tasks[1].stalled_since == 44.0
    events.stalled("b", 1.0)
    assert list(seen(events).stalled) == [2, 0, 1]
    events.stall_cleared("c")
    events.stall_cleared("c")
    assert list(seen(events).stalled) == [0, 1]
    events.completed("a")
    events.stopping("b")
    view = seen(events)
    assert view.stalled == {}
    assert view.tasks[1].stalled_since is None


def test_a_hold_lasts_until_it_is_released(diamond: EventFactory) -> None:
    diamond.held("b")
    assert seen(diamond).tasks[1].held
    diamond.released("b")
    assert not seen(diamond).tasks[1].held


def test_a_reset_forgets_why_a_task_had_ended(diamond: EventFactory) -> None:
    diamond.cancelled("b", "fail-fast: c failed", blocked_by="c")
    task = seen(diamond).tasks[1]
    assert (task.reason, task.blocked_by) == ("fail-fast: c failed", "c")
    diamond.completed("b", reason="done by hand")
    task = seen(diamond).tasks[1]
    assert (task.reason, task.blocked_by) == ("done by hand", None)
    diamond.reset("b")
    task = seen(diamond).tasks[1]
    assert (task.reason, task.blocked_by) == ("", None)


def test_a_tolerated_failure_is_tolerated_until_the_next_attempt(diamond: EventFactory) -> None:
    diamond.started("a")
    diamond.tolerated("a", "exit 3", 3)
    view = seen(diamond)
    assert (view.tasks[0].tolerated, view.tasks[0].error, view.failures) == (True, "exit 3", [])
    diamond.reset("a")
    assert not seen(diamond).tasks[0].tolerated


# ── the whole run ───────────────────────────────────────────────────────────────────────────────


def test_a_run_can_be_paused_changed_completed_and_reopened(diamond: EventFactory) -> None:
    diamond.wait(2)
    view = seen(diamond)
    assert (view.phase, view.started_at, view.elapsed(5.0)) == (RunPhase.RUNNING, 0.0, 5.0)
    diamond.paused()
    diamond.slots_changed(9)
    diamond.mode_changed(FailureMode.PAUSE_ON_FAILURE)
    view = seen(diamond)
    assert view.phase is RunPhase.PAUSED
    assert (view.max_parallel, view.failure_mode) == (9, FailureMode.PAUSE_ON_FAILURE)
    end = diamond.plan_completed(Outcome.CANCELLED, "stuck")
    view = seen(diamond)
    assert (view.outcome, view.diagnosis, view.ended_at) == (Outcome.CANCELLED, "stuck", end.offset)
    assert view.elapsed(1_000.0) == end.offset
    diamond.resumed()
    view = seen(diamond)
    assert (view.outcome, view.diagnosis, view.ended_at, view.phase) == (None, None, None, RunPhase.RUNNING)
    assert view.elapsed(1_000.0) == 1_000.0


def test_a_run_that_has_not_begun_has_taken_no_time(diamond: EventFactory) -> None:
    assert RunView(diamond.graph, "run").elapsed(9.0) == 0.0


def test_known_events_are_ignored(diamond: EventFactory) -> None:
    diamond.started("a")
    view = seen(diamond)
    view.apply(diamond.events)
    assert len(view.tasks[0].attempts) == 1
    assert len(view.audit) == 2


def test_the_audit_trail_is_bounded(diamond: EventFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_view, "AUDIT_LIMIT", 5)
    monkeypatch.setattr(run_view, "AUDIT_SLACK", 2)
    for _ in range(6):
        diamond.held("a")
    view = seen(diamond)
    assert [event.seq for event in view.audit] == [1, 2, 3, 4, 5, 6, 7]
    diamond.held("a")
    view.apply(diamond.events)
    assert [event.seq for event in view.audit] == [4, 5, 6, 7, 8]
    assert view.audit_dropped == 3


def test_changes_name_what_was_touched_and_what_became_ready(diamond: EventFactory) -> None:
    view = seen(diamond)
    assert view.drain_changes() == (set(), True)
    diamond.started("a")
    view.apply(diamond.events)
    assert view.drain_changes() == ({0}, False)
    diamond.stalled("a")
    view.apply(diamond.events)
    assert view.drain_changes() == ({0}, False)
    diamond.completed("a")
    view.apply(diamond.events)
    assert view.drain_changes() == ({0, 1, 2}, False)
    assert view.drain_changes() == (set(), False)


# ── joining late ────────────────────────────────────────────────────────────────────────────────


def test_who_joins_after_the_end_sees_how_it_ended() -> None:
    graph = plan(a="", b="", c="", d="c")
    failed = AttemptRecord(1, 2.0, 9.0, 1, "exit 1")
    tasks = (
        TaskSnapshot(state=TaskState.FAILED, attempts=(failed,)),
        TaskSnapshot(state=TaskState.FAILED, attempts=(AttemptRecord(1, 2.0, 5.0, 1, "exit 1"),)),
        TaskSnapshot(state=TaskState.SUCCESS, attempts=(AttemptRecord(1, 2.0, 8.0),)),
        TaskSnapshot(state=TaskState.SUCCESS),
    )
    snapshot = Snapshot(
        run_id="run",
        seq=40,
        offset=100.0,
        began=1.0,
        phase=RunPhase.COMPLETE,
        outcome=Outcome.FAILED,
        failure_mode=FailureMode.CONTINUE_ON_ERROR,
        max_parallel=2,
        tasks=tasks,
    )
    view = RunView.from_snapshot(graph, snapshot)
    assert view.failures == [1, 0]
    assert (view.started_at, view.ended_at, view.elapsed(100.0)) == (1.0, 9.0, 8.0)
    assert (view.pace.all.count, view.pace.all.mean) == (1, 6.0)
    assert view.health_course == [0.5]
    assert view.drain_changes() == (set(), False)


def test_who_joins_before_the_start_sees_that_nothing_has_begun() -> None:
    snapshot = Snapshot(
        run_id="run",
        seq=0,
        offset=0.0,
        phase=RunPhase.PENDING,
        outcome=None,
        failure_mode=FailureMode.FAIL_FAST,
        max_parallel=4,
        tasks=(TaskSnapshot(state=TaskState.PENDING),),
    )
    view = RunView.from_snapshot(plan(a=""), snapshot)
    assert view.started_at is None
    assert view.why(0, 0.0) == "the run has not begun"


def test_the_snapshot_stays_as_it_was() -> None:
    graph = plan(a="")
    record = AttemptRecord(1, 2.0)
    snapshot = Snapshot(
        run_id="run",
        seq=2,
        offset=3.0,
        phase=RunPhase.RUNNING,
        outcome=None,
        failure_mode=FailureMode.FAIL_FAST,
        max_parallel=4,
        tasks=(TaskSnapshot(state=TaskState.RUNNING, attempts=(record,), stalled_since=2.5),),
    )
    view = RunView.from_snapshot(graph, snapshot)
    assert view.stalled == {0: 2.5}
    events = EventFactory(graph)
    events.plan_started()
    events.started("a")
    events.completed("a")
    view.apply(events.events)
    assert (view.last_seq, view.tasks[0].state) == (3, TaskState.SUCCESS)
    assert view.tasks[0].attempts[0].ended == 2.0
    assert record.ended is None


def test_who_joins_a_full_dispatcher_knows_when_it_is_asked_again() -> None:
    snapshot = Snapshot(
        run_id="run",
        seq=2,
        offset=3.0,
        phase=RunPhase.RUNNING,
        outcome=None,
        failure_mode=FailureMode.FAIL_FAST,
        max_parallel=4,
        tasks=(TaskSnapshot(state=TaskState.READY, due=4.0), TaskSnapshot(state=TaskState.READY)),
    )
    view = RunView.from_snapshot(plan(a="", b=""), snapshot)
    assert view.why(1, 3.6) == "executor local is full, asked again in 0.4s"


# ── recorded runs ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", recordings.names())
@pytest.mark.parametrize("batch", [1, 4, 1_000])
def test_a_recorded_run_ends_as_it_says(name: str, batch: int) -> None:
    graph, events = recordings.read(name)
    view = RunView(graph, events[0].run_id)
    for start in range(0, len(events), batch):
        view.apply(events[start : start + batch])
    last = events[-1]
    assert view.outcome is last.outcome  # type: ignore[attr-defined]
    for state in ("success", "failed", "skipped", "cancelled"):
        assert view.counts[TaskState(state)] == getattr(last, state)
    assert view.progress == 1.0
    assert (view.slots_used, view.stalled) == (0, {})


def test_a_release_that_failed_once_is_seen_through_to_its_end() -> None:
    graph, events = recordings.read("release")
    view = RunView(graph, events[0].run_id)
    first_end = next(number for number, event in enumerate(events) if event.type == "PLAN_COMPLETED")
    view.apply(events[: first_end + 1])
    assert states(view) == (
        "build:success unit:cancelled lint:failed publish:skipped rollout:skipped tell:skipped"
    )
    assert [view.why(index, 60.0) for index in range(6)] == [
        "",
        "cancelled: fail-fast: lint failed",
        "exit 2",
        "skipped: unit was cancelled",
        "skipped: publish was skipped",
        "skipped: rollout was skipped, not failed",
    ]
    view.apply(events)
    assert [len(task.attempts) for task in view.tasks] == [1, 2, 3, 1, 1, 0]
    assert view.tasks[3].tolerated


def test_every_task_has_a_name_that_can_be_printed() -> None:
    tasks = tuple(Task(name=name) for name in ("build", "a\x1b[31mb\u200b", "\u200b"))
    plan = Plan(name="names", tasks=tasks)
    assert RunView(Graph(plan), "run").names == ["build", "ab", "'\\u200b'"]
