"""How a run goes: what starts when, how attempts end, what is dropped, and how a run comes to its end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from random import Random
from types import FrameType

import pytest

from engine.core.events import (
    DispatchDeferred,
    HookEnded,
    PlanCompleted,
    PlanStarted,
    RetryScheduled,
    StallCleared,
    TaskCompleted,
    TaskFailed,
    TaskStalled,
    TaskStarted,
    TaskStopping,
)
from engine.core.inputs import (
    AttemptFinished,
    AttemptOutcome,
    AttemptRevived,
    AttemptStalled,
    AttemptStarted,
    CancelPlan,
    CancelTask,
    HoldTask,
    HookFinished,
    MarkSucceeded,
    Now,
    OutcomeKind,
    PausePlan,
    ReleaseTask,
    ResumePlan,
    RetryFailed,
    RetryTask,
    Start,
    Tick,
)
from engine.core.ledger import InvariantBroken
from engine.core.scheduler import Scheduler
from engine.core.state import Outcome, RunPhase, TaskState
from engine.plan.graph import Graph
from engine.plan.model import FailureMode, Need, Plan, Task
from tests.support.live_world import FAILURE, SUCCESS, LiveWorld, Play, script
from tests.support.world import EPOCH, World, plan, task

# ── start, order, slots ─────────────────────────────────────────────────────────────────────────


def test_a_start_tells_what_the_run_is() -> None:
    world = World(plan(FailureMode.PAUSE_ON_FAILURE, a="", b="a"), max_parallel=7)
    world.wait(0.5)
    assert world.phase is RunPhase.PENDING
    assert world.start() == ["PLAN_STARTED", "start a#1"]
    assert world.last(PlanStarted) == PlanStarted(
        seq=1, utc=EPOCH + 0.5, offset=0.5, run_id="run", cause="operator", phase=RunPhase.RUNNING,
        plan="plan", tasks=2, max_parallel=7, failure_mode=FailureMode.PAUSE_ON_FAILURE,
    )  # fmt: skip
    assert world.scheduler.snapshot().began == 0.5


def test_the_plan_rules_where_the_run_says_nothing() -> None:
    given = Plan(name="p", tasks=(), max_parallel=3, failure_mode=FailureMode.CONTINUE_ON_ERROR)
    scheduler = Scheduler(Graph(given), "run", random=Random(0))
    assert (scheduler.max_parallel, scheduler.failure_mode) == (3, FailureMode.CONTINUE_ON_ERROR)


def test_a_run_starts_once() -> None:
    world = World(plan(a=""))
    world.start()
    with pytest.raises(InvariantBroken, match="started twice"):
        world.give(Start())


def test_before_the_start_nothing_happens() -> None:
    world = World(plan(a=""))
    world.scheduler.check_invariants()
    assert world.told(world.give(Tick())) == []
    assert world.scheduler.next_deadline() is None
    assert world.scheduler.snapshot().phase is RunPhase.PENDING


def test_a_plan_without_tasks_is_a_success_at_once() -> None:
    world = World(plan())
    assert world.start() == ["PLAN_STARTED", "PLAN_COMPLETED"]
    assert world.last(PlanCompleted).outcome is Outcome.SUCCESS


def test_a_task_starts_when_its_needs_are_met_without_waiting_for_a_wave() -> None:
    world = World(plan(a="", b="", c="a", d="b c"))
    assert world.start() == ["PLAN_STARTED", "start a#1", "start b#1"]
    assert world.succeed("a")[-1] == "start c#1", "though b goes on"
    assert world.succeed("c") == ["TASK_STARTED c", "TASK_COMPLETED c"]
    assert world.succeed("b")[-1] == "start d#1"
    assert world.succeed("d") == ["TASK_STARTED d", "TASK_COMPLETED d", "PLAN_COMPLETED"]


def test_all_that_is_ready_is_handed_over_at_once_up_to_the_slots() -> None:
    world = World(plan(a="", b="", c="", d=""), max_parallel=3)
    assert world.start() == ["PLAN_STARTED", "start a#1", "start b#1", "start c#1"]
    assert world.succeed("b")[-1] == "start d#1"


def test_the_order_is_priority_then_longest_path_then_place_in_the_plan() -> None:
    given = plan(
        late="", low=task(priority=10), long="", next_="long", last="next_", high=task(priority=90),
        even="", mid="", after="mid",
    )  # fmt: skip
    world = LiveWorld(given, max_parallel=1).run()
    assert [event.task for event in world.all(TaskStarted)] == [
        "high", "long", "next_", "mid", "late", "last", "even", "after", "low",
    ]  # fmt: skip


def test_known_durations_decide_what_the_longest_path_is() -> None:
    given = plan(a="", b="", c="b")
    assert World(given, max_parallel=1).start()[-1] == "start b#1"
    assert World(given, max_parallel=1, durations=[5.0, 1.0, 1.0]).start()[-1] == "start a#1"


def test_a_slot_is_taken_from_hand_over_to_the_end_of_the_attempt() -> None:
    world = World(plan(a="", b=""), max_parallel=1)
    world.start()
    assert world.flying == ["a"]
    assert world.admit("a") == ["TASK_STARTED a"]
    world.order(CancelTask, "a")
    assert world.flying == ["a"], "while it is stopping, too"
    assert world.stopped("a") == ["TASK_CANCELLED a", "start b#1"]


# ── attempts ────────────────────────────────────────────────────────────────────────────────────


def test_an_attempt_is_told_from_its_start_to_its_end() -> None:
    world = World(plan(a=""))
    world.wait(1.0)
    world.start()
    world.wait(1.0)
    world.admit("a")
    world.wait(3.0)
    world.succeed("a")
    started, completed = world.last(TaskStarted), world.last(TaskCompleted)
    assert started == TaskStarted(
        seq=2, utc=EPOCH + 2.0, offset=2.0, run_id="run", cause="needs met",
        task="a", index=0, attempt=1, state=TaskState.RUNNING, where="pid of a",
    )  # fmt: skip
    assert completed == TaskCompleted(
        seq=3, utc=EPOCH + 5.0, offset=5.0, run_id="run", cause="attempt ended",
        task="a", index=0, attempt=1, state=TaskState.SUCCESS, duration=3.0, exit_code=0,
    )  # fmt: skip
    ended = world.last(PlanCompleted)
    assert (ended.seq, ended.duration, ended.phase, ended.diagnosis) == (4, 4.0, RunPhase.COMPLETE, None)
    (record,) = world.scheduler.snapshot().tasks[0].attempts
    assert (record.number, record.started, record.ended, record.exit_code, record.error, record.where) == (
        1, 2.0, 5.0, 0, None, "pid of a",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "said"), [(OutcomeKind.SUCCESS, "TASK_COMPLETED a"), (OutcomeKind.FAILED, "TASK_FAILED a")]
)
def test_an_attempt_may_end_before_its_dispatcher_has_said_that_it_runs(kind: OutcomeKind, said: str) -> None:
    world = World(plan(a=""))
    world.start()
    assert world.finish("a", kind) == ["TASK_STARTED a", said, "PLAN_COMPLETED"]


def test_a_dispatcher_that_refuses_what_it_had_taken_up_contradicts_itself() -> None:
    """Something may have run: that is no lack of capacity any more."""
    world = World(plan(a=""))
    world.start()
    world.admit("a")
    world.refuse("a")
    assert world.last(TaskFailed).error == "all busy"


def test_a_second_word_that_it_runs_changes_nothing() -> None:
    world = World(plan(a=""))
    world.start()
    world.admit("a")
    assert world.admit("a") == []
    world.order(CancelTask, "a")
    assert world.admit("a") == []
    assert len(world.scheduler.snapshot().tasks[0].attempts) == 1


def test_a_success_that_was_never_said_to_run_has_a_record_of_its_own() -> None:
    """Told to stop in hand-over, but it was done already."""
    world = World(plan(a=task(retry=1)))
    world.start()
    world.admit("a")
    world.fail("a")
    world.wait(5.0)
    world.order(CancelTask, "a")
    assert world.succeed("a") == ["TASK_COMPLETED a", "PLAN_COMPLETED"]
    assert world.last(TaskCompleted).duration == 0.0
    assert [record.number for record in world.scheduler.snapshot().tasks[0].attempts] == [1, 2]


# ── time-outs ───────────────────────────────────────────────────────────────────────────────────


def test_a_time_out_counts_from_the_start_of_the_attempt_and_is_a_failure() -> None:
    world = World(plan(a=task(timeout=2.5), b="a"))
    world.start()
    world.wait(10.0)
    world.admit("a")
    assert world.scheduler.next_deadline() == 12.5
    assert world.wait(2.5) == ["TASK_STOPPING a", "stop a#1"]
    stopping = world.last(TaskStopping)
    assert (stopping.cause, stopping.reason, stopping.kill) == ("timeout", "timed out after 2.5s", False)
    assert world.scheduler.snapshot().tasks[0].reason == "timed out after 2.5s"
    world.wait(0.5)
    assert world.stopped("a") == ["TASK_FAILED a", "TASK_SKIPPED b", "PLAN_COMPLETED"]
    failed = world.last(TaskFailed)
    assert (failed.error, failed.exit_code, failed.duration) == ("timed out after 2.5s", None, 3.0)


def test_a_time_out_is_retried_and_each_attempt_has_the_whole_time() -> None:
    world = World(plan(a=task(timeout=1.0, retry=1)))
    world.start()
    world.admit("a")
    world.wait(1.0)
    assert world.stopped("a") == ["RETRY_SCHEDULED a"]
    assert world.last(RetryScheduled).error == "timed out after 1s"
    assert world.wait(0.5) == ["start a#2"]
    world.admit("a")
    assert world.wait(0.9) == []
    assert world.wait(0.1) == ["TASK_STOPPING a", "stop a#2"]


def test_a_tolerated_time_out() -> None:
    world = World(plan(a=task(timeout=1.0, skip_on_failure=True), b="a"))
    world.start()
    world.admit("a")
    world.wait(1.0)
    assert world.stopped("a") == ["TASK_SKIPPED a", "start b#1"]


def test_what_ended_in_time_does_not_time_out() -> None:
    world = World(plan(a=task(timeout=1.0), b="a"))
    world.start()
    world.admit("a")
    world.succeed("a")
    assert world.scheduler.next_deadline() is None
    assert world.wait(5.0) == []


def test_an_attempt_that_ended_within_its_limit_did_not_time_out() -> None:
    """The engine was late: its report stood behind the tick. What is stopped says STOPPED."""
    world = World(plan(a=task(timeout=1.0)))
    world.start()
    world.admit("a")
    world.wait(1.0)
    assert world.succeed("a") == ["TASK_COMPLETED a", "PLAN_COMPLETED"]


def test_no_time_out_while_it_is_stopping_already() -> None:
    world = World(plan(a=task(timeout=1.0)))
    world.start()
    world.admit("a")
    world.order(CancelTask, "a")
    assert world.scheduler.next_deadline() is None
    assert world.wait(5.0) == []


def test_a_time_out_strikes_in_a_paused_run_too() -> None:
    world = World(plan(a=task(timeout=1.0), b="a"))
    world.start()
    world.admit("a")
    world.send(PausePlan())
    assert world.wait(1.0) == ["TASK_STOPPING a", "stop a#1"]


def test_outdated_deadlines_do_not_pile_up() -> None:
    """Thousands of attempts, each with a time-out an hour off, leave next to nothing behind."""
    tasks = tuple(Task(name=f"t{n}", run="true", timeout=3600.0) for n in range(2_000))
    first = Task(name="first", run="true", timeout=900.0)  # its deadline stays at the front all the time
    given = Plan(name="many", tasks=(first, *tasks))
    world = LiveWorld(given, script(first=Play(duration=800.0)), checked=False, max_parallel=5).run(
        until=499.5
    )
    assert len(world.all(TaskCompleted)) == 1_996
    assert world.scheduler.next_deadline() == 900.0
    assert len(world.scheduler._deadlines._heap) < 100
    world.run()
    assert world.scheduler.next_deadline() is None


# ── reports that nobody waits for ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "report",
    [
        AttemptStarted(index=0, attempt=1),
        AttemptFinished(index=0, attempt=1, outcome=AttemptOutcome(OutcomeKind.SUCCESS)),
        AttemptFinished(index=0, attempt=1, outcome=AttemptOutcome(OutcomeKind.REFUSED)),
        AttemptStalled(index=0, attempt=1, silent_for=30.0),
        AttemptRevived(index=0, attempt=1),
        AttemptFinished(index=0, attempt=3, outcome=AttemptOutcome(OutcomeKind.SUCCESS)),
        AttemptFinished(index=1, attempt=0, outcome=AttemptOutcome(OutcomeKind.SUCCESS)),
        AttemptFinished(index=-1, attempt=1, outcome=AttemptOutcome(OutcomeKind.SUCCESS)),
        AttemptFinished(index=99, attempt=1, outcome=AttemptOutcome(OutcomeKind.SUCCESS)),
    ],
)
def test_a_report_about_another_attempt_changes_nothing_and_is_counted(
    report: AttemptStarted | AttemptFinished | AttemptStalled | AttemptRevived,
) -> None:
    world = World(plan(a=task(retry=1), b="a"))
    world.start()
    world.fail("a")
    world.wait(0.5)
    world.admit("a")
    before = world.scheduler.snapshot()
    assert world.scheduler.stale_reports == 0
    assert world.told(world.give(report)) == []
    assert world.scheduler.stale_reports == 1
    assert world.scheduler.snapshot() == before


# ── stalls ──────────────────────────────────────────────────────────────────────────────────────


def _stalled() -> World:
    world = World(plan(a=task(retry=1, timeout=60.0)))
    world.start()
    world.admit("a")
    world.wait(31.0)
    assert world.report(AttemptStalled, "a", silent_for=30.0, last_line="waiting") == ["TASK_STALLED a"]
    return world


def test_a_stall_is_raised_once() -> None:
    world = _stalled()
    stalled = world.last(TaskStalled)
    assert (stalled.silent_for, stalled.last_line, stalled.cause) == (30.0, "waiting", "stall watch")
    assert world.scheduler.snapshot().tasks[0].stalled_since == 1.0
    assert world.report(AttemptStalled, "a", silent_for=30.0) == []


def test_a_stall_is_cleared_when_life_returns_and_may_be_raised_again() -> None:
    world = _stalled()
    assert world.report(AttemptRevived, "a") == ["STALL_CLEARED a"]
    assert world.last(StallCleared).cause == "stall watch"
    assert world.scheduler.snapshot().tasks[0].stalled_since is None
    assert world.report(AttemptRevived, "a") == []
    assert world.report(AttemptStalled, "a", silent_for=30.0) == ["TASK_STALLED a"]


def test_a_stall_is_cleared_when_the_attempt_ends() -> None:
    assert _stalled().succeed("a") == ["STALL_CLEARED a", "TASK_COMPLETED a", "PLAN_COMPLETED"]
    assert _stalled().fail("a") == ["STALL_CLEARED a", "RETRY_SCHEDULED a"]


def test_a_stall_is_cleared_when_the_attempt_is_told_to_stop() -> None:
    assert _stalled().order(CancelTask, "a") == ["STALL_CLEARED a", "TASK_STOPPING a", "stop a#1"]
    world = _stalled()
    assert world.wait(60.0) == ["STALL_CLEARED a", "TASK_STOPPING a", "stop a#1"]
    assert world.report(AttemptStalled, "a", silent_for=30.0) == []


# ── a dispatcher without capacity ───────────────────────────────────────────────────────────────


def test_a_refusal_is_no_failure_and_takes_no_number() -> None:
    world = World(plan(a="", b=""))
    world.start()
    assert world.refuse("a") == ["DISPATCH_DEFERRED a"]
    deferred = world.last(DispatchDeferred)
    assert (deferred.state, deferred.due, deferred.reason) == (TaskState.READY, 0.1, "all busy")
    assert (deferred.attempt, deferred.cause) == (0, "dispatcher")
    assert world.scheduler.snapshot().tasks[0].due == 0.1
    assert world.states["a"] == "ready"
    assert world.scheduler.next_deadline() == 0.1
    assert world.wait(0.1) == ["start a#1"]
    assert world.scheduler.snapshot().tasks[0].due is None


def test_what_is_over_is_not_offered_again() -> None:
    world = World(plan(a="", b="a"))
    world.start()
    world.refuse("a")
    world.order(CancelTask, "a")
    assert world.scheduler.snapshot().tasks[0].due is None
    assert world.scheduler.next_deadline() is None


def test_no_more_is_handed_to_a_full_dispatcher_but_to_others() -> None:
    world = World(plan(a="", b="", c=task(executor="dask")), max_parallel=1)
    world.start()
    assert world.refuse("a") == ["DISPATCH_DEFERRED a", "start c#1"]
    assert world.wait(1.0) == []
    assert world.succeed("c")[-1] == "start a#1"


def test_deferred_and_paused_nothing_is_due() -> None:
    world = World(plan(a=""))
    world.start()
    world.refuse("a")
    world.send(PausePlan())
    assert world.scheduler.next_deadline() is None
    world.wait(10.0)
    assert world.send(ResumePlan()) == ["PLAN_RESUMED", "start a#1"]


def test_the_deferral_doubles_with_each_round_and_any_success_resets_it() -> None:
    world = World(plan(a="", b="", c="", d=""), max_parallel=3)
    world.start()
    world.admit("a")
    dues = []
    for _ in range(8):
        world.refuse("b", "c")
        dues.append(round(world.last(DispatchDeferred).due - world.offset, 6))
        world.wait(dues[-1])
        assert world.flying == ["a", "b", "c"]
    assert dues == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    world.succeed("a")
    world.refuse("b", "c", "d")
    assert world.last(DispatchDeferred).due == pytest.approx(world.offset + 0.1)


def test_a_refused_task_waits_for_a_need_that_was_reset_meanwhile() -> None:
    world = World(plan(a="", b="a"))
    world.start()
    world.succeed("a")
    world.order(RetryTask, "a")
    assert world.refuse("b") == ["DISPATCH_DEFERRED b"]
    assert world.states["b"] == "pending"
    assert world.wait(1.0) == []
    assert world.succeed("a") == ["TASK_RETRIED a", "TASK_COMPLETED a", "start b#1"]


def test_three_of_a_hundred_at_a_time_neither_spin_nor_starve() -> None:
    """A dispatcher that takes three at once: every task runs, in order, at a bounded number of offers."""
    tasks = tuple(Task(name=f"t{n}", run="true") for n in range(100))
    world = LiveWorld(Plan(name="many", tasks=tasks), capacity=3, max_parallel=32, checked=False).run()
    assert world.scheduler.outcome is Outcome.SUCCESS
    assert [event.index for event in world.all(TaskStarted)] == list(range(100))
    rounds = {event.offset for event in world.all(DispatchDeferred)}
    assert len(rounds) < 34 * 6, "about five offers in each of the 34 seconds that the work takes"
    assert world.offset < 34 * 1.5 + 5.0


def test_a_held_task_does_not_wake_a_full_dispatcher() -> None:
    world = World(plan(a=""))
    world.start()
    world.refuse("a")
    world.order(HoldTask, "a")
    assert world.wait(60.0) == []
    assert world.phase is RunPhase.RUNNING
    assert world.order(ReleaseTask, "a") == ["TASK_RELEASED a", "start a#1"]


# ── needs that run again ────────────────────────────────────────────────────────────────────────


def test_no_retry_starts_while_a_need_runs_again() -> None:
    world = World(plan(a="", b=task("a", retry=1)))
    world.start()
    world.succeed("a")
    world.fail("b")
    world.order(RetryTask, "a")
    assert world.wait(1.0) == []
    assert world.states == {"a": "ready", "b": "pending"}
    assert world.succeed("a")[-1] == "start b#2"


def test_no_retry_becomes_ready_while_a_need_is_to_run_again() -> None:
    world = World(plan(a="", b=task("a", retry=1)))
    world.start()
    world.succeed("a")
    world.fail("b")
    world.send(PausePlan())
    world.order(RetryTask, "a")
    assert world.wait(1.0) == []
    assert world.states == {"a": "ready", "b": "pending"}


# ── the end ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("plays", "outcome", "counts"),
    [
        ({}, Outcome.SUCCESS, (4, 0, 0, 0, 0)),
        ({"a": FAILURE}, Outcome.FAILED, (1, 1, 2, 0, 0)),
        ({"d": FAILURE}, Outcome.SUCCESS, (3, 0, 1, 0, 1)),
        ({"c": [FAILURE, SUCCESS]}, Outcome.SUCCESS, (4, 0, 0, 0, 1)),
        ({"c": FAILURE, "d": [FAILURE, SUCCESS]}, Outcome.FAILED, (3, 1, 0, 0, 2)),
    ],
)
def test_the_end_tells_the_outcome_and_counts_everything(
    plays: dict[str, Play], outcome: Outcome, counts: tuple[int, ...]
) -> None:
    given = plan(a="", b="a", c=task("a", retry=1), d=task(retry=1, skip_on_failure=True))
    world = LiveWorld(given, script(**plays)).run()
    ended = world.last(PlanCompleted)
    assert ended.outcome is outcome
    assert (ended.success, ended.failed, ended.skipped, ended.cancelled, ended.retried) == counts
    assert ended.duration == world.offset


def test_after_the_end_nothing_happens_by_itself() -> None:
    world = LiveWorld(plan(a=task(timeout=9.0), b="")).run()
    told = len(world.events)
    assert world.scheduler.next_deadline() is None
    assert world.told(world.give(Tick())) == []
    assert len(world.events) == told


def test_a_run_that_is_stuck_ends_failed_with_a_diagnosis() -> None:
    """Which cannot happen: so the ledger is broken from outside, by a need that is never counted."""
    world = World(plan(a="", b="a", c="b"), checked=False)
    world.start()
    world.scheduler.ledger.unmet[1] += 1
    assert world.succeed("a") == [
        "TASK_STARTED a", "TASK_COMPLETED a", "TASK_CANCELLED b", "TASK_CANCELLED c", "PLAN_COMPLETED",
    ]  # fmt: skip
    ended = world.last(PlanCompleted)
    assert ended.outcome is Outcome.FAILED
    assert ended.diagnosis is not None
    assert "2 tasks could neither run nor end" in ended.diagnosis
    assert "task 'b' is pending, attempt 0" in ended.diagnosis
    assert "needs 'a' (success: success); 1 unmet" in ended.diagnosis
    assert (ended.success, ended.cancelled) == (1, 2)


def test_a_run_in_which_somebody_holds_something_is_not_stuck() -> None:
    world = World(plan(a="", b="a"), checked=False)
    world.start()
    world.order(HoldTask, "b")
    world.scheduler.ledger.unmet[1] += 1
    assert world.succeed("a") == ["TASK_STARTED a", "TASK_COMPLETED a"]
    assert world.send(CancelPlan())[-1] == "PLAN_COMPLETED"


def test_what_is_not_an_input_is_refused_loudly() -> None:
    world = World(plan(a=""))
    world.start()
    with pytest.raises((KeyError, TypeError)):
        world.scheduler.handle("start", Now(0.0, EPOCH))  # type: ignore[arg-type]


# ── size ────────────────────────────────────────────────────────────────────────────────────────

MANY = 20_000


def _chain(length: int) -> Plan:
    """Each task needs the one before."""
    tasks = [Task(name="t0", run="true")]
    tasks += [Task(name=f"t{n}", run="true", needs=(Need(f"t{n - 1}"),)) for n in range(1, length)]
    return Plan(name="chain", tasks=tuple(tasks))


def _fan(width: int) -> Plan:
    """All need the first, the last needs all."""
    middle = [Task(name=f"m{n}", run="true", needs=(Need("root"),)) for n in range(width)]
    end = Task(name="end", run="true", needs=tuple(Need(each.name) for each in middle))
    return Plan(name="fan", tasks=(Task(name="root", run="true"), *middle, end), max_parallel=32)


def _lives_through_everything(given: Plan) -> LiveWorld:
    """Fails at the first task, is retried as a whole, held up and cancelled, retried again, and succeeds."""
    world = LiveWorld(given, script(**{given.tasks[0].name: [FAILURE, SUCCESS]}), checked=False).run()
    assert world.last(PlanCompleted).skipped == len(given.tasks) - 1
    world.send(RetryFailed())
    world.send(CancelPlan(kill=True))
    world.run()
    assert world.last(PlanCompleted).cancelled == len(given.tasks)
    world.send(RetryTask(index=0, downstream=True))
    world.run()
    world.scheduler.check_invariants()
    return world


@pytest.mark.parametrize("shape", [_chain, _fan])
def test_a_plan_of_twenty_thousand_tasks(shape: Callable[[int], Plan]) -> None:
    """A recursion would end in a RecursionError here, anything quadratic not within the time-out."""
    world = _lives_through_everything(shape(MANY))
    assert world.last(PlanCompleted).outcome is Outcome.SUCCESS
    assert world.last(PlanCompleted).success == len(world.plan.tasks)


@pytest.mark.parametrize("shape", [_chain, _fan])
def test_twice_the_tasks_cost_twice_the_work(shape: Callable[[int], Plan]) -> None:
    """Counted in function calls, for time is not repeatable. A heap may add a logarithm."""
    few, many = (_calls(partial(_lives_through_everything, shape(size))) for size in (500, 1_000))
    assert many < 2.2 * few


def _calls(work: Callable[[], object]) -> int:
    """How many calls, of Python functions and of built-in ones, a piece of work makes."""
    calls = 0

    def count(_frame: FrameType, event: str, _detail: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


class TestOutputs:
    def done(self, world: World, name: str, **outputs: str) -> None:
        world.report(AttemptFinished, name, outcome=AttemptOutcome(OutcomeKind.SUCCESS, outputs=outputs))

    def test_are_those_of_the_attempt_that_succeeded(self) -> None:
        world = World(plan(a=task(retry=1)))
        world.start()
        world.admit("a")
        world.report(
            AttemptFinished, "a", outcome=AttemptOutcome(OutcomeKind.FAILED, "exit 1", outputs={"tag": "no"})
        )
        assert world.scheduler.outputs == {}
        world.wait(1)
        self.done(world, "a", tag="v1")
        assert world.scheduler.outputs == {0: {"tag": "v1"}}
        [completed] = [event for event in world.events if isinstance(event, TaskCompleted)]
        assert completed.outputs == {"tag": "v1"}
        assert world.scheduler.snapshot().tasks[0].outputs == {"tag": "v1"}

    def test_are_gone_when_the_task_runs_again(self) -> None:
        world = World(plan(a="", b="a"))
        world.start()
        self.done(world, "a", tag="v1")
        world.succeed("b")
        world.order(RetryTask, "a")
        assert world.scheduler.outputs == {}

    def test_a_task_that_is_marked_as_done_has_none(self) -> None:
        world = World(plan(a=""))
        world.start()
        world.fail("a")
        world.order(MarkSucceeded, "a", reason="by hand")
        assert world.scheduler.outputs == {}

    def test_outlive_the_engine(self) -> None:
        world = World(plan(a="", b="a"))
        world.start()
        self.done(world, "a", tag="v1")
        again = World(plan(a="", b="a"), snapshot=world.scheduler.snapshot(), checked=False)
        again.start()
        assert again.scheduler.outputs == {0: {"tag": "v1"}}

    def test_a_final_failure_is_not_tried_again(self) -> None:
        world = World(plan(a=task(retry=3)))
        world.start()
        world.report(
            AttemptFinished, "a", outcome=AttemptOutcome(OutcomeKind.FAILED, "hopeless", is_final=True)
        )
        assert world.states == {"a": "failed"}


# ── beside the run ──────────────────────────────────────────────────────────────────────────────


def test_the_end_of_a_hook_is_written_down_and_changes_nothing() -> None:
    world = World(plan(a=""))
    world.start()
    world.admit("a")
    world.succeed("a")
    assert world.phase is RunPhase.COMPLETE
    hook = HookFinished(hook="failure", about="a", duration=2.0, error="exit 3", exit_code=3)
    (event,) = world.give(hook).events
    assert event == HookEnded(
        seq=world.events[-2].seq + 1,
        utc=event.utc,
        offset=event.offset,
        run_id=event.run_id,
        cause="failure hook",
        phase=RunPhase.COMPLETE,
        hook="failure",
        about="a",
        duration=2.0,
        error="exit 3",
        exit_code=3,
    )
    assert (world.phase, world.scheduler.outcome) == (RunPhase.COMPLETE, Outcome.SUCCESS)
