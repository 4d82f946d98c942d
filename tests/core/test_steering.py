"""Every command in every state: what follows from it, or why it is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.core.events import (
    FailureModeChanged,
    MaxParallelChanged,
    PlanCompleted,
    PlanPaused,
    TaskCancelled,
    TaskCompleted,
    TaskReset,
    TaskRetried,
    TaskSkipped,
    TaskStopping,
)
from engine.core.inputs import (
    CancelPlan,
    CancelTask,
    Command,
    DrainPlan,
    HoldTask,
    KillTask,
    MarkSucceeded,
    PausePlan,
    ReleaseTask,
    ResumePlan,
    RetryFailed,
    RetryTask,
    SetFailureMode,
    SetMaxParallel,
    SkipTask,
    TaskCommand,
)
from engine.core.state import Outcome, RunPhase, TaskState
from engine.plan.model import FailureMode
from tests.support.world import World, plan, task

CONTINUE, FAIL_FAST, PAUSE = (
    FailureMode.CONTINUE_ON_ERROR,
    FailureMode.FAIL_FAST,
    FailureMode.PAUSE_ON_FAILURE,
)


# ── one task: the situations, each of a task "a" that needs z, and that b needs ─────────────────


def _pending() -> World:
    world = World(plan(z="", a=task("z", retry=1, timeout=9.0), b="a"), max_parallel=1)
    world.start()
    world.admit("z")
    return world


def _ready() -> World:
    world = _pending()
    world.send(PausePlan())
    world.succeed("z")
    return world


def _held() -> World:
    world = _pending()
    world.order(HoldTask, "a")
    world.succeed("z")
    return world


def _handed_over() -> World:
    world = _pending()
    world.succeed("z")
    return world


def _running() -> World:
    world = _handed_over()
    world.admit("a")
    return world


def _retrying() -> World:
    world = _running()
    world.fail("a")
    return world


def _stopping() -> World:
    world = _running()
    world.order(CancelTask, "a")
    return world


def _timed_out() -> World:
    world = _running()
    world.wait(9.0)
    return world


def _stopped_by_fail_fast() -> World:
    world = World(plan(FAIL_FAST, z="", a="z", b="a", c="z"))
    world.start()
    world.succeed("z")
    world.admit("a", "c")
    world.fail("c")
    return world


def _success() -> World:
    world = _running()
    world.succeed("a")
    return world


def _failed() -> World:
    world = _retrying()
    world.wait(0.5)
    world.fail("a")
    return world


def _skipped() -> World:
    world = _pending()
    world.fail("z")
    return world


def _tolerated() -> World:
    world = World(plan(z="", a=task("z", skip_on_failure=True), b="a"), max_parallel=1)
    world.start()
    world.succeed("z")
    world.fail("a")
    return world


def _cancelled() -> World:
    world = _pending()
    world.order(CancelTask, "a")
    return world


SITUATIONS: dict[str, tuple[Callable[[], World], TaskState]] = {
    "pending": (_pending, TaskState.PENDING),
    "ready": (_ready, TaskState.READY),
    "held": (_held, TaskState.READY),
    "handed over": (_handed_over, TaskState.READY),
    "running": (_running, TaskState.RUNNING),
    "retrying": (_retrying, TaskState.RETRYING),
    "stopping": (_stopping, TaskState.STOPPING),
    "timed out": (_timed_out, TaskState.STOPPING),
    "stopped by fail-fast": (_stopped_by_fail_fast, TaskState.STOPPING),
    "success": (_success, TaskState.SUCCESS),
    "failed": (_failed, TaskState.FAILED),
    "skipped": (_skipped, TaskState.SKIPPED),
    "tolerated": (_tolerated, TaskState.SKIPPED),
    "cancelled": (_cancelled, TaskState.CANCELLED),
}

OVER = "is over already"
UNSTARTED = "only a task that has not started can be "
ENDED = "only a task that is over can be retried"
CUT_OFF = "TASK_CANCELLED a, TASK_SKIPPED b"
SKIPPED = "TASK_SKIPPED a, TASK_SKIPPED b"

TABLE: dict[type[TaskCommand], dict[str, str]] = {
    CancelTask: {
        "pending": f"{CUT_OFF} -> cancelled",
        "ready": f"{CUT_OFF}, PLAN_COMPLETED -> cancelled",
        "held": f"{CUT_OFF}, PLAN_COMPLETED -> cancelled",
        "handed over": "TASK_STOPPING a, stop a#1 -> stopping",
        "running": "TASK_STOPPING a, stop a#1 -> stopping",
        "retrying": f"{CUT_OFF}, PLAN_COMPLETED -> cancelled",
        "stopping": "a is stopping already; killing it ends it at once",
        "timed out": "TASK_STOPPING a, stop a#1 -> stopping",
        "stopped by fail-fast": "TASK_STOPPING a, stop a#1 -> stopping",
        "success": OVER,
        "failed": OVER,
        "skipped": OVER,
        "tolerated": OVER,
        "cancelled": OVER,
    },
    KillTask: {
        "pending": f"{CUT_OFF} -> cancelled",
        "ready": f"{CUT_OFF}, PLAN_COMPLETED -> cancelled",
        "held": f"{CUT_OFF}, PLAN_COMPLETED -> cancelled",
        "handed over": "TASK_STOPPING a, kill a#1 -> stopping",
        "running": "TASK_STOPPING a, kill a#1 -> stopping",
        "retrying": f"{CUT_OFF}, PLAN_COMPLETED -> cancelled",
        "stopping": "TASK_STOPPING a, kill a#1 -> stopping",
        "timed out": "TASK_STOPPING a, kill a#1 -> stopping",
        "stopped by fail-fast": "TASK_STOPPING a, kill a#1 -> stopping",
        "success": OVER,
        "failed": OVER,
        "skipped": OVER,
        "tolerated": OVER,
        "cancelled": OVER,
    },
    RetryTask: {
        "pending": ENDED,
        "ready": ENDED,
        "held": ENDED,
        "handed over": ENDED,
        "running": ENDED,
        "retrying": "TASK_RESET a, start a#2 -> ready",
        "stopping": ENDED,
        "timed out": ENDED,
        "stopped by fail-fast": ENDED,
        "success": "TASK_RESET a -> ready",  # b has the only slot
        "failed": "PLAN_RESUMED, TASK_RESET a, TASK_RESET b, start a#3 -> ready",
        "skipped": "a cannot run: z failed; retry that first",
        "tolerated": "TASK_RESET a -> ready",  # b has the only slot
        "cancelled": "TASK_RESET a, TASK_RESET b -> pending",
    },
    HoldTask: {
        "pending": "TASK_HELD a -> pending",
        "ready": "TASK_HELD a -> ready",
        "held": "a is held already",
        "handed over": f"{UNSTARTED}held",
        "running": f"{UNSTARTED}held",
        "retrying": "TASK_HELD a -> retrying",
        "stopping": f"{UNSTARTED}held",
        "timed out": f"{UNSTARTED}held",
        "stopped by fail-fast": f"{UNSTARTED}held",
        "success": f"{UNSTARTED}held",
        "failed": f"{UNSTARTED}held",
        "skipped": f"{UNSTARTED}held",
        "tolerated": f"{UNSTARTED}held",
        "cancelled": f"{UNSTARTED}held",
    },
    ReleaseTask: {
        **dict.fromkeys(SITUATIONS, "a is not held"),
        "held": "TASK_RELEASED a, start a#1 -> ready",
    },
    SkipTask: {
        "pending": f"{SKIPPED} -> skipped",
        "ready": f"{SKIPPED}, PLAN_COMPLETED -> skipped",
        "held": f"{SKIPPED}, PLAN_COMPLETED -> skipped",
        "handed over": f"{UNSTARTED}skipped",
        "running": f"{UNSTARTED}skipped",
        "retrying": f"{SKIPPED}, PLAN_COMPLETED -> skipped",
        "stopping": f"{UNSTARTED}skipped",
        "timed out": f"{UNSTARTED}skipped",
        "stopped by fail-fast": f"{UNSTARTED}skipped",
        "success": f"{UNSTARTED}skipped",
        "failed": f"{UNSTARTED}skipped",
        "skipped": f"{UNSTARTED}skipped",
        "tolerated": f"{UNSTARTED}skipped",
        "cancelled": f"{UNSTARTED}skipped",
    },
    MarkSucceeded: {
        "pending": "TASK_COMPLETED a -> success",
        "ready": "TASK_COMPLETED a -> success",
        "held": "TASK_COMPLETED a, start b#1 -> success",
        "handed over": "cancel it first",
        "running": "cancel it first",
        "retrying": "TASK_COMPLETED a, start b#1 -> success",
        "stopping": "a is stopping",
        "timed out": "a is stopping",
        "stopped by fail-fast": "a is stopping",
        "success": "a has succeeded already",
        "failed": "PLAN_RESUMED, TASK_COMPLETED a, TASK_RESET b, start b#1 -> success",
        "skipped": "PLAN_RESUMED, TASK_COMPLETED a, TASK_RESET b, start b#1 -> success",
        "tolerated": "TASK_COMPLETED a -> success",
        "cancelled": "TASK_COMPLETED a, TASK_RESET b -> success",
    },
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("command", TABLE, ids=lambda command: command.__name__)
def test_command_to_one_task(command: type[TaskCommand], situation: str) -> None:
    bring_about, state = SITUATIONS[situation]
    world = bring_about()
    assert world.state("a") is state
    fields = {"reason": "seen to it"} if command is MarkSucceeded else {}
    expected = TABLE[command][situation]
    if "->" in expected:
        told = world.order(command, "a", **fields)
        assert f"{', '.join(told)} -> {world.state('a')}" == expected
    else:
        assert expected in world.refuses(command, "a", **fields)
        assert world.state("a") is state


def test_the_table_is_complete() -> None:
    assert all(row.keys() == SITUATIONS.keys() for row in TABLE.values())


@pytest.mark.parametrize("index", [-1, 3])
@pytest.mark.parametrize("command", TABLE, ids=lambda command: command.__name__)
def test_no_command_reaches_a_task_that_is_not_there(command: type[TaskCommand], index: int) -> None:
    fields = {"reason": "seen to it"} if command is MarkSucceeded else {}
    assert _pending().refused(command(index=index, **fields)) == f"there is no task number {index}"


# ── cancel, kill ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kill", "said"), [(False, "cancelled by anna"), (True, "killed by anna")])
def test_an_attempt_that_was_stopped_ends_cancelled_and_says_by_whom(kill: bool, said: str) -> None:
    world = _running()
    world.wait(2.0)
    world.order(KillTask if kill else CancelTask, "a", actor="anna")
    stopping = world.last(TaskStopping)
    assert (stopping.cause, stopping.reason, stopping.kill) == ("anna", said, kill)
    world.wait(1.0)
    assert world.stopped("a") == ["TASK_CANCELLED a", "TASK_SKIPPED b", "PLAN_COMPLETED"]
    cancelled = world.last(TaskCancelled)
    assert (cancelled.cause, cancelled.reason, cancelled.duration) == ("anna", said, 3.0)
    assert cancelled.blocked_by is None
    skipped = world.last(TaskSkipped)
    assert (skipped.reason, skipped.blocked_by) == ("a was cancelled", "a")
    (record,) = world.scheduler.snapshot().tasks[world.index("a")].attempts
    assert (record.started, record.ended, record.error) == (0.0, 3.0, said)


def test_a_stop_escalates_to_a_kill_as_often_as_asked() -> None:
    world = _stopping()
    assert world.order(KillTask, "a") == ["TASK_STOPPING a", "kill a#1"]
    assert world.order(KillTask, "a") == ["TASK_STOPPING a", "kill a#1"]
    assert world.refuses(CancelTask, "a")
    world.stopped("a")
    assert world.last(TaskCancelled).reason == "killed by operator"


def test_a_persons_cancel_outranks_the_time_out_before_it() -> None:
    """Its retries are not used: whoever cancels does not want it again."""
    world = _timed_out()
    world.order(CancelTask, "a")
    assert world.stopped("a")[0] == "TASK_CANCELLED a"


def test_what_a_person_cancelled_stays_when_the_culprit_of_fail_fast_is_retried() -> None:
    world = _stopped_by_fail_fast()
    world.order(CancelTask, "a")
    world.stopped("a")
    world.order(RetryTask, "c")
    assert world.state("a") is TaskState.CANCELLED


def test_cancelled_in_hand_over_the_attempt_never_was() -> None:
    """The dispatcher had not taken it up: no record; the number goes to the next hand-over."""
    world = _handed_over()
    world.order(CancelTask, "a")
    world.stopped("a")
    assert world.scheduler.snapshot().tasks[world.index("a")].attempts == ()
    world.order(RetryTask, "a")
    world.admit("a")
    assert not world.all(TaskRetried)


def test_taken_up_after_it_was_told_to_stop_the_attempt_has_a_record() -> None:
    world = _handed_over()
    world.order(CancelTask, "a")
    world.wait(1.0)
    assert world.admit("a") == []
    world.wait(1.0)
    world.stopped("a")
    (record,) = world.scheduler.snapshot().tasks[world.index("a")].attempts
    assert (record.number, record.started, record.ended) == (1, 1.0, 2.0)
    assert world.last(TaskCancelled).duration == 1.0


# ── retry ───────────────────────────────────────────────────────────────────────────────────────


def test_a_retry_counts_on_keeps_the_history_and_grants_new_retries() -> None:
    world = _failed()
    assert world.phase is RunPhase.COMPLETE
    world.order(RetryTask, "a", actor="anna")
    world.admit("a")
    assert world.last(TaskRetried).attempt == 3
    assert world.last(TaskRetried).cause == "anna"
    assert world.fail("a") == ["RETRY_SCHEDULED a"]
    attempts = world.scheduler.snapshot().tasks[world.index("a")].attempts
    assert [(record.number, record.error, record.exit_code) for record in attempts] == [
        (1, "exit 1", 1),
        (2, "exit 1", 1),
        (3, "exit 1", 1),
    ]


def test_what_was_blocked_only_by_the_reset_is_unblocked_with_it() -> None:
    world = World(plan(a="", x="", b="a", c="b", d="b x", e={"a": "failed"}))
    world.start()
    world.fail("x")
    world.fail("a")
    world.succeed("e")
    assert world.phase is RunPhase.COMPLETE
    assert world.order(RetryTask, "a") == [
        "PLAN_RESUMED", "TASK_RESET a", "TASK_RESET b", "TASK_RESET c", "start a#2",
    ]  # fmt: skip
    assert world.states["d"] == "skipped", "x blocks it still"
    assert world.states["e"] == "success", "it ran; nobody asked for it again"
    world.succeed("a", "b", "c")
    assert world.last(PlanCompleted).outcome is Outcome.FAILED
    assert world.order(RetryTask, "x") == ["PLAN_RESUMED", "TASK_RESET x", "TASK_RESET d", "start x#2"]
    world.succeed("x", "d")
    assert world.last(PlanCompleted).outcome is Outcome.SUCCESS


def test_the_retry_of_a_skipped_task_names_what_is_in_its_way() -> None:
    world = World(plan(a="", b={"a": "failed"}))
    world.start()
    world.succeed("a")
    assert world.refuses(RetryTask, "b") == "b cannot run: a succeeded, not failed; retry that first"


def test_a_retry_waits_for_needs_that_run_again() -> None:
    world = World(plan(a="", b="a"))
    world.start()
    world.succeed("a", "b")
    world.order(RetryTask, "a")
    assert world.order(RetryTask, "b") == ["TASK_RESET b"]
    assert world.states == {"a": "ready", "b": "pending"}
    assert world.succeed("a") == ["TASK_RETRIED a", "TASK_COMPLETED a", "start b#2"]


def test_a_retry_takes_a_ready_dependent_back_to_pending() -> None:
    world = World(plan(a="", b="a"), max_parallel=1)
    world.start()
    world.send(PausePlan())
    world.succeed("a")
    assert world.states["b"] == "ready"
    world.order(RetryTask, "a")
    assert world.states["b"] == "pending"
    assert world.send(ResumePlan()) == ["PLAN_RESUMED", "start a#2"]
    assert world.fail("a") == ["TASK_RETRIED a", "TASK_FAILED a", "TASK_SKIPPED b", "PLAN_COMPLETED"]


def test_a_retry_leaves_dependents_that_run_alone() -> None:
    world = World(plan(a="", b="a"))
    world.start()
    world.succeed("a")
    world.admit("b")
    world.order(RetryTask, "a")
    assert world.succeed("b") == ["TASK_COMPLETED b"]
    assert world.fail("a")[-1] == "PLAN_COMPLETED"
    assert world.states == {"a": "failed", "b": "success"}


def test_a_mark_dooms_the_handler_of_the_failure() -> None:
    """It was about to answer the failure; now there is none."""
    world = World(plan(a="", b={"a": "failed"}, c="b"))
    world.start()
    world.send(PausePlan())
    world.fail("a")
    assert world.states["b"] == "ready"
    assert world.order(MarkSucceeded, "a", reason="by hand") == [
        "TASK_COMPLETED a", "TASK_SKIPPED b", "TASK_SKIPPED c", "PLAN_COMPLETED",
    ]  # fmt: skip


def test_downstream_resets_everything_after_it_that_can_run_again() -> None:
    world = World(plan(a="", x="", b="a", c="b", d="b x", e={"c": "failed"}))
    world.start()
    world.fail("x")
    world.succeed("a", "b", "c")
    assert world.states == {
        "a": "success", "x": "failed", "b": "success", "c": "success", "d": "skipped", "e": "skipped",
    }  # fmt: skip
    told = world.order(RetryTask, "a", downstream=True)
    assert told == [
        "PLAN_RESUMED", "TASK_RESET a", "TASK_RESET b", "TASK_RESET c", "TASK_RESET e", "start a#2",
    ]  # fmt: skip
    assert world.states["d"] == "skipped", "x blocks it still"


def test_downstream_leaves_what_is_still_going_on() -> None:
    world = World(plan(a="", b="a", c="b"))
    world.start()
    world.succeed("a")
    world.admit("b")
    assert world.order(RetryTask, "a", downstream=True) == ["TASK_RESET a", "start a#2"]
    assert world.states == {"a": "ready", "b": "running", "c": "pending"}


def test_downstream_needs_a_task_that_is_over() -> None:
    assert "only a task that is over" in _retrying().refuses(RetryTask, "a", downstream=True)


def test_retry_all_failed_resets_the_failed_and_what_they_blocked() -> None:
    world = World(plan(a="", b="", c="a", d="b", e=task(skip_on_failure=True), f=""))
    world.start()
    world.fail("a")
    world.fail("b")
    world.fail("e")
    world.succeed("f")
    told = world.send(RetryFailed(actor="anna"))
    assert told == [
        "PLAN_RESUMED", "TASK_RESET a", "TASK_RESET b", "TASK_RESET c", "TASK_RESET d",
        "start a#2", "start b#2",
    ]  # fmt: skip
    assert {event.cause for event in world.all(TaskReset)} == {"anna"}
    assert world.states["e"] == "skipped", "its failure was tolerated"


def test_retry_all_failed_needs_a_failure() -> None:
    world = World(plan(a=""))
    world.start()
    assert world.refused(RetryFailed()) == "no task has failed"


def test_a_retry_after_the_end_reopens_the_run_and_it_ends_again() -> None:
    world = World(plan(a="", b="a"))
    world.start()
    world.fail("a")
    first = world.last(PlanCompleted)
    assert (first.outcome, first.failed, first.skipped, first.retried) == (Outcome.FAILED, 1, 1, 0)
    assert world.scheduler.outcome is Outcome.FAILED
    world.wait(10.0)
    world.order(RetryTask, "a")
    assert world.phase is RunPhase.RUNNING
    assert world.scheduler.outcome is None
    world.succeed("a", "b")
    second = world.last(PlanCompleted)
    assert (second.outcome, second.success, second.retried) == (Outcome.SUCCESS, 2, 1)
    assert second.duration == 10.0
    assert len(world.all(PlanCompleted)) == 2


def test_a_retry_does_not_lift_a_persons_pause() -> None:
    world = World(plan(a="", b=""))
    world.start()
    world.fail("a")
    world.send(PausePlan())
    assert world.order(RetryTask, "a") == ["TASK_RESET a"]
    assert world.phase is RunPhase.PAUSED


def test_a_persons_pause_takes_the_place_of_the_one_that_a_failure_brought() -> None:
    world = World(plan(PAUSE, a="", b=""))
    world.start()
    world.fail("a")
    world.send(DrainPlan())
    world.send(PausePlan())
    assert world.order(RetryTask, "a") == ["TASK_RESET a"]
    assert world.phase is RunPhase.PAUSED


def test_a_retry_in_back_off_whose_need_has_failed_since_cannot_run() -> None:
    world = World(plan(a="", b=task("a", retry=1)))
    world.start()
    world.succeed("a")
    world.fail("b")
    world.order(RetryTask, "a")
    world.fail("a")
    assert world.wait(1.0) == ["TASK_SKIPPED b", "PLAN_COMPLETED"]
    assert world.last(TaskSkipped).reason == "a failed"


def test_a_back_off_is_cut_short_once() -> None:
    """The deadline of the back-off must not come over the attempt that runs instead."""
    world = World(plan(a=task(retry=2)))
    world.start()
    world.fail("a")
    world.wait(0.2)
    assert world.order(RetryTask, "a") == ["TASK_RESET a", "start a#2"]
    world.admit("a")
    assert world.wait(5.0) == []
    assert world.states == {"a": "running"}


# ── hold and release ────────────────────────────────────────────────────────────────────────────


def test_a_held_task_lets_others_pass_and_keeps_the_run_open() -> None:
    world = World(plan(a="", b="", c="b"), max_parallel=1)
    world.start()
    world.order(HoldTask, "c")
    world.succeed("b", "a")
    assert world.states["c"] == "ready"
    assert world.phase is RunPhase.RUNNING
    assert world.wait(3600.0) == []
    assert world.order(ReleaseTask, "c") == ["TASK_RELEASED c", "start c#1"]


def test_a_hold_outlasts_a_back_off() -> None:
    world = _retrying()
    world.order(HoldTask, "a")
    assert world.wait(60.0) == []
    assert world.order(ReleaseTask, "a") == ["TASK_RELEASED a", "start a#2"]


def test_a_release_before_the_needs_are_met_starts_nothing() -> None:
    world = _pending()
    world.order(HoldTask, "a")
    assert world.order(ReleaseTask, "a") == ["TASK_RELEASED a"]
    assert world.succeed("z")[-1] == "start a#1"


# ── skip and mark ───────────────────────────────────────────────────────────────────────────────


def test_a_skip_keeps_its_cause_and_is_no_failure() -> None:
    world = _pending()
    world.order(SkipTask, "a", actor="anna")
    skipped, blocked = world.all(TaskSkipped)
    assert (skipped.task, skipped.cause, skipped.reason) == ("a", "anna", "skipped by anna")
    assert (skipped.blocked_by, skipped.tolerated, skipped.error) == (None, False, None)
    assert (blocked.task, blocked.reason, blocked.blocked_by) == ("b", "a was skipped", "a")
    world.succeed("z")
    assert world.last(PlanCompleted).outcome is Outcome.SUCCESS


def test_a_mark_says_by_whom_and_why() -> None:
    world = _failed()
    world.order(MarkSucceeded, "a", actor="anna", reason="deployed by hand")
    marked = world.last(TaskCompleted)
    assert (marked.cause, marked.reason, marked.duration) == ("anna", "deployed by hand", 0.0)
    assert marked.exit_code is None
    assert world.succeed("b")[-1] == "PLAN_COMPLETED"
    assert world.last(PlanCompleted).outcome is Outcome.SUCCESS


@pytest.mark.parametrize("reason", ["", "  \t"])
def test_a_mark_needs_a_reason(reason: str) -> None:
    assert "needs a reason" in _failed().refuses(MarkSucceeded, "a", reason=reason)


# ── the whole run ───────────────────────────────────────────────────────────────────────────────


LEADS_TO: dict[RunPhase, Command] = {
    RunPhase.PAUSED: PausePlan(),
    RunPhase.DRAINING: DrainPlan(),
    RunPhase.CANCELLING: CancelPlan(),
}


def _run_in(phase: RunPhase) -> World:
    """One task runs, one waits for it; or all is over."""
    world = World(plan(a="", b="a"))
    if phase is RunPhase.PENDING:
        return world
    world.start()
    world.admit("a")
    if phase is RunPhase.COMPLETE:
        world.succeed("a", "b")
    elif phase in LEADS_TO:
        world.send(LEADS_TO[phase])
    assert world.phase is phase
    return world


_SET_MODE = SetFailureMode(mode=FAIL_FAST)
_SET_SLOTS = SetMaxParallel(slots=7)
_NOT_STARTED = "the run has not started yet"

PLAN_TABLE: dict[RunPhase, list[tuple[Command, str]]] = {
    RunPhase.PENDING: [
        (command, _NOT_STARTED)
        for command in (
            PausePlan(),
            ResumePlan(),
            DrainPlan(),
            CancelPlan(),
            _SET_MODE,
            _SET_SLOTS,
            RetryFailed(),
            CancelTask(index=0),
        )
    ],
    RunPhase.RUNNING: [
        (PausePlan(), "PLAN_PAUSED -> paused"),
        (ResumePlan(), "the run is running"),
        (DrainPlan(), "PLAN_PAUSED -> draining"),
        (CancelPlan(), "PLAN_PAUSED, TASK_CANCELLED b, TASK_STOPPING a, stop a#1 -> cancelling"),
        (CancelPlan(kill=True), "PLAN_PAUSED, TASK_CANCELLED b, TASK_STOPPING a, kill a#1 -> cancelling"),
        (_SET_MODE, "FAILURE_MODE_CHANGED -> running"),
        (SetFailureMode(mode=CONTINUE), "the failure mode is continue_on_error already"),
        (_SET_SLOTS, "MAX_PARALLEL_CHANGED -> running"),
        (SetMaxParallel(slots=4), "max_parallel is 4 already"),
        (SetMaxParallel(slots=1), "MAX_PARALLEL_CHANGED -> running"),
        (SetMaxParallel(slots=32), "MAX_PARALLEL_CHANGED -> running"),
        (SetMaxParallel(slots=0), "max_parallel must be 1..32, not 0"),
        (SetMaxParallel(slots=33), "max_parallel must be 1..32, not 33"),
    ],
    RunPhase.PAUSED: [
        (PausePlan(), "the run is paused"),
        (ResumePlan(), "PLAN_RESUMED -> running"),
        (DrainPlan(), "PLAN_PAUSED -> draining"),
        (CancelPlan(), "PLAN_PAUSED, TASK_CANCELLED b, TASK_STOPPING a, stop a#1 -> cancelling"),
        (_SET_MODE, "FAILURE_MODE_CHANGED -> paused"),
        (_SET_SLOTS, "MAX_PARALLEL_CHANGED -> paused"),
    ],
    RunPhase.DRAINING: [
        (PausePlan(), "PLAN_PAUSED -> paused"),
        (ResumePlan(), "PLAN_RESUMED -> running"),
        (DrainPlan(), "the run is draining"),
        (CancelPlan(), "PLAN_PAUSED, TASK_CANCELLED b, TASK_STOPPING a, stop a#1 -> cancelling"),
        (RetryFailed(), "the run is draining: resume it first"),
        (RetryTask(index=0), "the run is draining: resume it first"),
        (MarkSucceeded(index=1, reason="done"), "the run is draining: resume it first"),
        (_SET_MODE, "FAILURE_MODE_CHANGED -> draining"),
        (_SET_SLOTS, "MAX_PARALLEL_CHANGED -> draining"),
    ],
    RunPhase.CANCELLING: [
        (PausePlan(), "the run is cancelling"),
        (ResumePlan(), "the run is cancelling"),
        (DrainPlan(), "the run is cancelling"),
        (CancelPlan(), "the run is being cancelled already"),
        (CancelPlan(kill=True), "TASK_STOPPING a, kill a#1 -> cancelling"),
        (RetryFailed(), "the run is being cancelled"),
        (RetryTask(index=1), "the run is being cancelled"),
        (MarkSucceeded(index=1, reason="done"), "the run is being cancelled"),
        (KillTask(index=0), "TASK_STOPPING a, kill a#1 -> cancelling"),
    ],
    RunPhase.COMPLETE: [
        (PausePlan(), "the run is complete"),
        (ResumePlan(), "the run is complete"),
        (DrainPlan(), "the run is complete"),
        (CancelPlan(), "the run is complete"),
        (CancelPlan(kill=True), "the run is complete"),
        (RetryFailed(), "no task has failed"),
        (RetryTask(index=1), "PLAN_RESUMED, TASK_RESET b, start b#2 -> running"),
        (_SET_MODE, "FAILURE_MODE_CHANGED -> complete"),
        (_SET_SLOTS, "MAX_PARALLEL_CHANGED -> complete"),
    ],
}


@pytest.mark.parametrize(
    ("phase", "command", "expected"),
    [(phase, command, expected) for phase, rows in PLAN_TABLE.items() for command, expected in rows],
)
def test_command_to_the_run(phase: RunPhase, command: Command, expected: str) -> None:
    world = _run_in(phase)
    if "->" in expected:
        assert f"{', '.join(world.send(command))} -> {world.phase}" == expected
    else:
        assert world.refused(command) == expected
        assert world.phase is phase


def test_paused_what_runs_goes_on_and_nothing_starts() -> None:
    world = World(plan(a="", b="", c="a"), max_parallel=1)
    world.start()
    assert world.send(PausePlan(actor="anna")) == ["PLAN_PAUSED"]
    assert world.last(PlanPaused).cause == "anna"
    assert world.succeed("a") == ["TASK_STARTED a", "TASK_COMPLETED a"]
    assert world.send(ResumePlan()) == ["PLAN_RESUMED", "start b#1"]


def test_a_paused_run_ends_when_nothing_is_left() -> None:
    world = World(plan(a=""))
    world.start()
    world.send(PausePlan())
    assert world.succeed("a")[-1] == "PLAN_COMPLETED"


def test_drained_what_runs_is_finished_and_the_rest_cancelled() -> None:
    world = World(plan(a="", b=task(retry=1), c="a", d="c"))
    world.start()
    world.admit("a", "b")
    world.send(DrainPlan())
    assert world.succeed("a") == ["TASK_COMPLETED a"]
    told = world.fail("b")
    assert told == [
        "RETRY_SCHEDULED b", "TASK_CANCELLED b", "TASK_CANCELLED c", "TASK_CANCELLED d", "PLAN_COMPLETED",
    ]  # fmt: skip
    assert world.last(TaskCancelled).reason == "the run was drained"
    assert world.last(PlanCompleted).outcome is Outcome.CANCELLED


def test_draining_a_run_in_which_nothing_runs_ends_it_at_once() -> None:
    world = World(plan(a="", b="a"))
    world.start()
    world.send(PausePlan())
    world.succeed("a")
    assert world.send(DrainPlan()) == ["PLAN_PAUSED", "TASK_CANCELLED b", "PLAN_COMPLETED"]


def test_a_drained_run_that_had_nothing_left_is_a_success() -> None:
    world = World(plan(a=""))
    world.start()
    world.send(DrainPlan())
    world.succeed("a")
    assert world.last(PlanCompleted).outcome is Outcome.SUCCESS


def test_cancelled_nothing_is_skipped_on_account_of_another() -> None:
    world = World(plan(a="", b="a", c=task(retry=1), d={"a": "finished"}))
    world.start()
    world.admit("a", "c")
    world.fail("c")
    told = world.send(CancelPlan(actor="anna"))
    assert told == [
        "PLAN_PAUSED", "TASK_CANCELLED b", "TASK_CANCELLED c", "TASK_CANCELLED d",
        "TASK_STOPPING a", "stop a#1",
    ]  # fmt: skip
    assert world.stopped("a") == ["TASK_CANCELLED a", "PLAN_COMPLETED"]
    assert {event.cause for event in world.all(TaskCancelled)} == {"anna"}
    assert world.last(PlanCompleted).outcome is Outcome.CANCELLED


def test_an_interrupted_run_says_so_and_a_retry_forgets_it() -> None:
    world = World(plan(a="", b="a"))
    world.start()
    world.send(CancelPlan(interrupted=True, actor="SIGTERM"))
    world.stopped("a")
    assert world.last(PlanCompleted).outcome is Outcome.INTERRUPTED
    world.order(RetryTask, "a")
    world.succeed("a")
    assert world.last(PlanCompleted).outcome is Outcome.CANCELLED, "b was cancelled and nobody retried it"


def test_a_failure_outweighs_a_cancellation() -> None:
    world = World(plan(a="", b=""))
    world.start()
    world.fail("a")
    world.send(CancelPlan())
    world.stopped("b")
    assert world.last(PlanCompleted).outcome is Outcome.FAILED


def test_a_cancelled_run_takes_over_what_was_stopping_already() -> None:
    """Neither the time-out is retried nor fail-fast's victim brought back."""
    world = _timed_out()
    assert world.send(CancelPlan()) == ["PLAN_PAUSED", "TASK_CANCELLED b"]
    assert world.stopped("a") == ["TASK_CANCELLED a", "PLAN_COMPLETED"]
    assert world.last(TaskCancelled).reason == "cancelled by operator"


def test_a_cancellation_escalates_to_a_kill_of_all_that_is_left() -> None:
    world = World(plan(a="", b="", c=""))
    world.start()
    world.admit("a", "b")
    world.send(CancelPlan())
    world.stopped("b")
    assert world.send(CancelPlan(kill=True)) == [
        "TASK_STOPPING a", "TASK_STOPPING c", "kill a#1", "kill c#1",
    ]  # fmt: skip


def test_the_mode_and_the_slots_say_what_they_were() -> None:
    world = _run_in(RunPhase.RUNNING)
    world.send(SetFailureMode(mode=PAUSE, actor="anna"))
    world.send(SetMaxParallel(slots=9, actor="ben"))
    mode, slots = world.last(FailureModeChanged), world.last(MaxParallelChanged)
    assert (mode.cause, mode.old, mode.new) == ("anna", CONTINUE, PAUSE)
    assert (slots.cause, slots.old, slots.new) == ("ben", 4, 9)


def test_raising_the_slots_starts_more_at_once_and_lowering_them_drains() -> None:
    world = World(plan(a="", b="", c="", d="", e=""), max_parallel=1)
    world.start()
    assert world.send(SetMaxParallel(slots=3)) == ["MAX_PARALLEL_CHANGED", "start b#1", "start c#1"]
    assert world.send(SetMaxParallel(slots=1)) == ["MAX_PARALLEL_CHANGED"]
    assert world.succeed("a") == ["TASK_STARTED a", "TASK_COMPLETED a"]
    assert world.succeed("b") == ["TASK_STARTED b", "TASK_COMPLETED b"]
    assert world.succeed("c") == ["TASK_STARTED c", "TASK_COMPLETED c", "start d#1"]
