"""What one failure means for the rest of the run."""

from __future__ import annotations

import pytest

from engine.core.events import PlanCompleted, PlanPaused, TaskCancelled, TaskFailed, TaskSkipped, TaskStopping
from engine.core.inputs import (
    CancelPlan,
    CancelTask,
    DrainPlan,
    HoldTask,
    MarkSucceeded,
    OutcomeKind,
    PausePlan,
    ResumePlan,
    RetryFailed,
    RetryTask,
    SetFailureMode,
)
from engine.core.state import Outcome, RunPhase
from engine.plan.model import FailureMode
from tests.support.world import World, plan, task

CONTINUE, FAIL_FAST, PAUSE = (
    FailureMode.CONTINUE_ON_ERROR,
    FailureMode.FAIL_FAST,
    FailureMode.PAUSE_ON_FAILURE,
)


# ── what all modes have in common ───────────────────────────────────────────────────────────────


def test_a_failure_skips_every_transitive_dependent_and_each_keeps_its_cause() -> None:
    world = World(plan(CONTINUE, a="", b="a", c="b", d="c x", x=""))
    world.start()
    assert world.fail("a") == [
        "TASK_STARTED a", "TASK_FAILED a", "TASK_SKIPPED b", "TASK_SKIPPED c", "TASK_SKIPPED d",
    ]  # fmt: skip
    assert [(e.task, e.reason, e.blocked_by, e.cause) for e in world.all(TaskSkipped)] == [
        ("b", "a failed", "a", "a failed"),
        ("c", "b was skipped", "b", "b skipped"),
        ("d", "c was skipped", "c", "c skipped"),
    ]
    kept = world.scheduler.snapshot().tasks[world.index("c")]
    assert (kept.reason, kept.blocked_by) == ("b was skipped", "b")


def test_what_two_needs_have_doomed_is_skipped_once() -> None:
    world = World(plan(CONTINUE, a="", b="a", c="a b"))
    world.start()
    assert world.fail("a")[2:] == ["TASK_SKIPPED b", "TASK_SKIPPED c", "PLAN_COMPLETED"]


def test_conditions_are_met_by_the_ends_they_name() -> None:
    conditions = ("success", "failed", "finished", "skipped")
    ends = {"good": "success", "bad": "failed", "off": "skipped"}
    tasks = {f"{end}_{wish}": {end: wish} for end in ends for wish in conditions}
    world = World(plan(CONTINUE, good="", bad="", root="", off="root", **tasks), max_parallel=32)
    world.start()
    world.succeed("good")
    world.fail("bad")
    world.fail("root")
    ran = {name for name, state in world.states.items() if state == "ready"}
    assert ran == {
        "good_success", "good_finished", "bad_failed", "bad_finished", "off_skipped", "off_finished",
    }  # fmt: skip
    skipped = {name for name, state in world.states.items() if state == "skipped"}
    assert skipped == {"off", *tasks} - ran
    assert world.last(TaskSkipped, "good_failed").reason == "good succeeded, not failed"
    assert world.last(TaskSkipped, "bad_skipped").reason == "bad failed, not skipped"
    assert world.last(TaskSkipped, "off_failed").reason == "off was skipped, not failed"


@pytest.mark.parametrize("mode", FailureMode)
def test_a_tolerated_failure_ends_skipped_with_its_error_and_dependents_run(mode: FailureMode) -> None:
    world = World(
        plan(mode, a=task(skip_on_failure=True, retry=1), b="a", c={"a": "skipped"}, d={"a": "failed"})
    )
    world.start()
    world.admit("a")
    assert world.fail("a") == ["RETRY_SCHEDULED a"], "after its retries"
    world.wait(0.5)
    world.admit("a")
    world.wait(2.0)
    assert world.fail("a", "exit 4", 4) == ["TASK_SKIPPED a", "TASK_SKIPPED d", "start b#1", "start c#1"]
    skipped = world.last(TaskSkipped, "a")
    assert (skipped.tolerated, skipped.error, skipped.exit_code, skipped.duration) == (True, "exit 4", 4, 2.0)
    assert (skipped.reason, skipped.blocked_by) == ("its failure is tolerated", None)
    assert world.last(TaskSkipped, "d").tolerated is False
    world.succeed("b", "c")
    completed = world.last(PlanCompleted)
    assert (completed.outcome, completed.success, completed.skipped) == (Outcome.SUCCESS, 2, 2)
    assert (completed.failed, completed.cancelled, completed.retried) == (0, 0, 1)


# ── fail_fast ───────────────────────────────────────────────────────────────────────────────────


def test_fail_fast_stops_what_runs_and_cancels_what_has_not_started() -> None:
    world = World(plan(FAIL_FAST, a="", b="", c=task(retry=3), d="a", e="b", f="", g=""), max_parallel=4)
    world.start()
    world.admit("b", "a", "c")
    world.fail("c")
    assert world.flying == ["a", "b", "f", "g"]
    told = world.fail("a")
    assert told == [
        "TASK_FAILED a", "TASK_SKIPPED d",
        "TASK_STOPPING b", "TASK_STOPPING f", "TASK_STOPPING g",
        "TASK_CANCELLED c", "TASK_CANCELLED e",
        "stop b#1", "stop f#1", "stop g#1",
    ]  # fmt: skip
    assert {event.reason for event in world.all(TaskCancelled)} == {"fail-fast: a failed"}
    assert {event.blocked_by for event in world.all(TaskCancelled)} == {"a"}
    stopping = world.last(TaskStopping)
    assert (stopping.reason, stopping.cause, stopping.kill) == (
        "fail-fast: a failed",
        "fail-fast: a failed",
        False,
    )
    world.stopped("b")
    world.stopped("f")
    assert world.stopped("g") == ["TASK_CANCELLED g", "PLAN_COMPLETED"]
    assert world.last(TaskCancelled, "b").blocked_by == "a"
    completed = world.last(PlanCompleted)
    assert (completed.outcome, completed.failed, completed.skipped, completed.cancelled) == (
        Outcome.FAILED,
        1,
        1,
        5,
    )


def test_fail_fast_lets_the_answer_to_a_failure_run() -> None:
    world = World(plan(FAIL_FAST, a="", b="", tell={"a": "failed"}, after="tell", other={"b": "failed"}))
    world.start()
    world.admit("a", "b")
    told = world.fail("a")
    assert told == [
        "TASK_FAILED a", "TASK_STOPPING b", "TASK_CANCELLED other", "stop b#1", "start tell#1",
    ]  # fmt: skip
    assert world.stopped("b") == ["TASK_CANCELLED b"]
    assert world.succeed("tell")[-1] == "start after#1"
    assert world.succeed("after")[-1] == "PLAN_COMPLETED"
    assert world.last(PlanCompleted).outcome is Outcome.FAILED


def test_a_cleanup_waits_until_what_it_cleans_up_after_has_stopped() -> None:
    world = World(plan(FAIL_FAST, a="", b="", clean={"a": "finished", "b": "finished"}))
    world.start()
    world.admit("a", "b")
    assert "start clean#1" not in world.fail("a")
    assert world.stopped("b") == ["TASK_CANCELLED b", "start clean#1"]


def test_a_failure_among_the_answers_strikes_again_but_spares_the_other_answers() -> None:
    world = World(
        plan(FAIL_FAST, a="", h={"a": "failed"}, i={"a": "failed"}, j={"a": "failed"}), max_parallel=2
    )
    world.start()
    world.fail("a")
    world.admit("h", "i")
    assert world.fail("h") == ["TASK_FAILED h", "start j#1"]
    assert world.states == {"a": "failed", "h": "failed", "i": "running", "j": "ready"}


def test_the_second_failure_of_a_fail_fast_run_stops_what_was_retried_meanwhile() -> None:
    world = World(plan(FAIL_FAST, a="", b="", c=""))
    world.start()
    world.admit("a", "b", "c")
    world.fail("a")
    world.stopped("b")
    world.stopped("c")
    world.order(RetryTask, "b")
    world.order(RetryTask, "c")
    world.admit("b", "c")
    assert world.fail("b") == ["TASK_FAILED b", "TASK_STOPPING c", "stop c#2"]


def test_what_fail_fast_cancelled_comes_back_when_the_culprit_is_retried() -> None:
    """What was stopped, what had not started, what was skipped for it; also what is still stopping."""
    world = World(plan(FAIL_FAST, a="", b="", c="", d="b", e="a"))
    world.start()
    world.admit("a", "b", "c")
    world.fail("a")
    world.stopped("b")
    assert world.states == {
        "a": "failed", "b": "cancelled", "c": "stopping", "d": "cancelled", "e": "skipped",
    }  # fmt: skip
    assert world.order(RetryTask, "a") == [
        "TASK_RESET a", "TASK_RESET b", "TASK_RESET e", "TASK_RESET d", "start a#2", "start b#2",
    ]  # fmt: skip
    assert world.stopped("c") == ["TASK_CANCELLED c", "TASK_RESET c", "start c#2"]
    world.succeed("a", "b", "c", "d", "e")
    assert world.last(PlanCompleted).outcome is Outcome.SUCCESS


def test_what_fail_fast_cancelled_comes_back_when_the_culprit_is_marked_as_done() -> None:
    world = World(plan(FAIL_FAST, a="", b="", c="a"), max_parallel=1)
    world.start()
    world.fail("a")
    assert world.phase is RunPhase.COMPLETE
    assert world.order(MarkSucceeded, "a", reason="by hand") == [
        "PLAN_RESUMED", "TASK_COMPLETED a", "TASK_RESET b", "TASK_RESET c", "start b#1",
    ]  # fmt: skip
    world.succeed("b", "c")
    assert world.last(PlanCompleted).outcome is Outcome.SUCCESS


def test_a_culprit_that_fails_again_strikes_again() -> None:
    world = World(plan(FAIL_FAST, a="", b=""))
    world.start()
    world.admit("a", "b")
    world.fail("a")
    world.stopped("b")
    world.send(RetryFailed())
    world.admit("a", "b")
    assert world.fail("a") == ["TASK_FAILED a", "TASK_STOPPING b", "stop b#2"]


def test_stopped_by_a_culprit_that_was_retried_and_failed_again_it_stays_cancelled() -> None:
    world = World(plan(FAIL_FAST, a="", b=""))
    world.start()
    world.admit("a", "b")
    world.fail("a")
    world.order(RetryTask, "a")
    world.fail("a")
    assert world.stopped("b") == ["TASK_CANCELLED b", "PLAN_COMPLETED"]


def test_an_attempt_that_had_succeeded_before_it_was_stopped_is_a_success() -> None:
    """Its report was under way already: the work is done, and must not be done again."""
    world = World(plan(FAIL_FAST, a="", b="", c="b"))
    world.start()
    world.admit("a", "b")
    world.fail("a")
    assert world.succeed("b") == ["TASK_COMPLETED b", "PLAN_COMPLETED"]
    assert world.states == {"a": "failed", "b": "success", "c": "cancelled"}


def test_no_time_out_is_retried_after_fail_fast() -> None:
    world = World(plan(FAIL_FAST, a="", b=task(retry=3, timeout=1.0)))
    world.start()
    world.admit("a", "b")
    world.wait(1.0)
    world.fail("a")
    world.stopped("b")
    assert world.wait(60.0) == []
    assert world.started == ["a#1", "b#1"]
    assert world.phase is RunPhase.COMPLETE


# ── continue_on_error ───────────────────────────────────────────────────────────────────────────


def test_continue_on_error_goes_on_with_independent_work_and_collects_all_failures() -> None:
    world = World(plan(CONTINUE, a="", b="", c="a", d="b", e=""), max_parallel=2)
    world.start()
    assert world.fail("a") == ["TASK_STARTED a", "TASK_FAILED a", "TASK_SKIPPED c", "start e#1"]
    assert world.fail("b") == ["TASK_STARTED b", "TASK_FAILED b", "TASK_SKIPPED d"]
    world.succeed("e")
    completed = world.last(PlanCompleted)
    assert (completed.outcome, completed.success, completed.failed, completed.skipped) == (
        Outcome.FAILED,
        1,
        2,
        2,
    )
    assert [event.task for event in world.all(TaskFailed)] == ["a", "b"]


# ── pause_on_failure ────────────────────────────────────────────────────────────────────────────


def _paused() -> World:
    world = World(plan(PAUSE, a="", b="", c="b", d="a", e=task(retry=1)), max_parallel=3)
    world.start()
    world.admit("a", "b", "e")
    world.fail("e")
    assert world.fail("a") == ["TASK_FAILED a", "TASK_SKIPPED d", "PLAN_PAUSED"]
    assert world.phase is RunPhase.PAUSED
    assert world.last(PlanPaused).cause == "a failed"
    assert world.succeed("b") == ["TASK_COMPLETED b"], "running work finishes, nothing new starts"
    return world


def test_pause_on_failure_goes_on_when_the_operator_resumes() -> None:
    assert _paused().send(ResumePlan()) == ["PLAN_RESUMED", "start c#1"]


def test_pause_on_failure_goes_on_when_the_operator_retries() -> None:
    world = _paused()
    assert world.order(RetryTask, "a") == [
        "PLAN_RESUMED", "TASK_RESET a", "TASK_RESET d", "start a#2", "start c#1",
    ]  # fmt: skip


def test_pause_on_failure_goes_on_when_the_operator_cuts_a_back_off_short() -> None:
    assert _paused().order(RetryTask, "e") == ["PLAN_RESUMED", "TASK_RESET e", "start c#1", "start e#2"]


def test_pause_on_failure_goes_on_when_the_operator_retries_all_failed() -> None:
    assert _paused().send(RetryFailed())[0] == "PLAN_RESUMED"


def test_pause_on_failure_goes_on_when_the_operator_marks_the_failure_as_done() -> None:
    assert _paused().order(MarkSucceeded, "a", reason="by hand") == [
        "PLAN_RESUMED", "TASK_COMPLETED a", "TASK_RESET d", "start c#1", "start d#1",
    ]  # fmt: skip


def test_pause_on_failure_ends_when_the_operator_cancels() -> None:
    world = _paused()
    assert world.send(CancelPlan()) == [
        "PLAN_PAUSED",
        "TASK_CANCELLED c",
        "TASK_CANCELLED e",
        "PLAN_COMPLETED",
    ]
    assert world.last(PlanCompleted).outcome is Outcome.FAILED


def test_further_failures_during_the_pause_are_told_but_pause_only_once() -> None:
    world = World(plan(PAUSE, a="", b="", c="b"))
    world.start()
    world.fail("a")
    assert world.fail("b") == ["TASK_STARTED b", "TASK_FAILED b", "TASK_SKIPPED c", "PLAN_COMPLETED"]
    assert len(world.all(PlanPaused)) == 1


def test_a_failure_in_a_draining_run_pauses_nothing() -> None:
    world = World(plan(PAUSE, a="", b=""))
    world.start()
    world.send(DrainPlan())
    assert world.fail("a") == ["TASK_STARTED a", "TASK_FAILED a"]


# ── switching ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", FailureMode)
def test_a_switch_governs_the_failures_that_follow(mode: FailureMode) -> None:
    world = World(plan(CONTINUE, a="", b="", c="", d="c"))
    world.start()
    world.admit("a", "b", "c")
    world.fail("a")
    if mode is not CONTINUE:
        assert world.send(SetFailureMode(mode=mode)) == ["FAILURE_MODE_CHANGED"], "the past is the past"
    assert (
        world.fail("b")
        == {
            CONTINUE: ["TASK_FAILED b"],
            FAIL_FAST: ["TASK_FAILED b", "TASK_STOPPING c", "TASK_CANCELLED d", "stop c#1"],
            PAUSE: ["TASK_FAILED b", "PLAN_PAUSED"],
        }[mode]
    )


def test_fail_fast_switched_off_and_on_again_strikes_again() -> None:
    world = World(plan(FAIL_FAST, a="", b="", h={"a": "failed"}))
    world.start()
    world.admit("a", "b")
    world.send(SetFailureMode(mode=CONTINUE))
    world.fail("a")
    world.send(SetFailureMode(mode=FAIL_FAST))
    assert world.fail("b") == ["TASK_FAILED b", "TASK_STOPPING h", "stop h#1"]


def test_a_failure_says_how_an_attempt_ended_that_gave_no_reason() -> None:
    world = World(plan(CONTINUE, a=""))
    world.start()
    world.admit("a")
    world.finish("a", OutcomeKind.STOPPED)
    assert world.last(TaskFailed).error == "stopped"


def test_a_pause_that_a_failure_brought_can_be_made_ones_own() -> None:
    world = World(plan(PAUSE, a="", b=""), max_parallel=1)
    world.start()
    world.fail("a")
    assert world.send(PausePlan(actor="alice")) == ["PLAN_PAUSED"]
    world.order(RetryTask, "a")
    assert world.phase is RunPhase.PAUSED
    assert world.refused(PausePlan()) == "the run is paused"


def test_a_cancelled_run_is_not_paused_for_the_failure_before() -> None:
    world = World(plan(PAUSE, a="", b=""))
    world.start()
    world.admit("b")
    world.fail("a")
    world.send(CancelPlan())
    assert world.refused(PausePlan()) == "the run is cancelling"


# ── what crossed a stop ─────────────────────────────────────────────────────────────────────────


def test_a_time_out_that_fail_fast_finds_stopping_counts_as_a_failure_but_is_not_retried() -> None:
    world = World(plan(FAIL_FAST, a="", b=task(retry=3, timeout=1.0)))
    world.start()
    world.admit("a", "b")
    world.wait(1.0)
    world.fail("a")
    world.stopped("b")
    assert world.states == {"a": "failed", "b": "failed"}
    assert world.last(TaskFailed, "b").error == "timed out after 1s"


def test_an_attempt_that_had_failed_before_fail_fast_stopped_it_has_failed() -> None:
    world = World(plan(FAIL_FAST, a="", b=task(retry=3)))
    world.start()
    world.admit("a", "b")
    world.fail("a")
    world.fail("b", "exit 7", 7)
    assert world.states == {"a": "failed", "b": "failed"}
    assert (world.last(TaskFailed, "b").error, world.last(TaskFailed, "b").exit_code) == ("exit 7", 7)


def test_an_attempt_that_failed_before_a_person_stopped_it_is_cancelled() -> None:
    world = World(plan(a=task(retry=3)))
    world.start()
    world.admit("a")
    world.order(CancelTask, "a")
    world.fail("a")
    assert world.states == {"a": "cancelled"}


def test_what_answers_a_failure_is_spared_again_but_not_once_a_person_has_retried_it() -> None:
    world = World(plan(FAIL_FAST, a="", b="", tell={"a": "failed"}))
    world.start()
    world.admit("a", "b")
    world.fail("a")
    world.stopped("b")
    world.succeed("tell")
    world.order(RetryTask, "tell")
    world.order(RetryTask, "b")
    world.admit("tell", "b")
    assert "stop tell#2" in world.fail("b")


def test_a_refused_task_that_a_failure_has_doomed_meanwhile_is_deferred_and_then_skipped() -> None:
    world = World(plan(CONTINUE, a="", b="a"))
    world.start()
    world.succeed("a")
    world.order(RetryTask, "a")
    world.admit("a")
    world.fail("a")
    assert world.refuse("b")[:2] == ["DISPATCH_DEFERRED b", "TASK_SKIPPED b"]


def test_a_retry_in_back_off_is_refused_when_a_need_has_failed_since() -> None:
    world = World(plan(CONTINUE, a="", b=task("a", retry=1)))
    world.start()
    world.succeed("a")
    world.fail("b")
    world.order(RetryTask, "a")
    world.admit("a")
    world.fail("a")
    assert world.refuses(RetryTask, "b") == "b cannot run: a failed; retry that first"


def test_refusals_do_not_call_ready_what_is_starting() -> None:
    world = World(plan(a=""))
    world.start()
    assert world.refuses(HoldTask, "a").startswith("a is starting:")
    assert world.refuses(MarkSucceeded, "a", reason="x") == "a is starting: cancel it first"
    world.order(CancelTask, "a")
    assert world.refuses(MarkSucceeded, "a", reason="x") == "a is stopping: wait until it has ended"


def test_the_end_counts_what_was_tolerated() -> None:
    world = World(plan(a=task(skip_on_failure=True), b="a"))
    world.start()
    world.fail("a")
    world.succeed("b")
    end = world.last(PlanCompleted)
    assert (end.outcome, end.skipped, end.tolerated) == (Outcome.SUCCESS, 1, 1)
