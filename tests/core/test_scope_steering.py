"""Commands to a subplan as a whole, and to what is inside one that is over."""

from __future__ import annotations

from engine.core.events import FailureModeChanged, PlanCompleted, TaskCompleted, TaskReset, TaskRetried
from engine.core.inputs import (
    CancelPlan,
    CancelTask,
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
    SkipTask,
)
from engine.core.state import Outcome, RunPhase
from engine.plan.model import FailureMode
from tests.support.world import World, plan, subplan, task

CONTINUE, FAIL_FAST, PAUSE = (
    FailureMode.CONTINUE_ON_ERROR,
    FailureMode.FAIL_FAST,
    FailureMode.PAUSE_ON_FAILURE,
)


def going() -> World:
    """A subplan in which "a" runs, and "b" and "deep" wait for it; "c" runs beside it, "tell" waits."""
    inside = {"a": "", "b": "a", "deep": subplan({"x": ""}, "a")}
    world = World(plan(sub=subplan(inside), c="", tell="sub"))
    world.start()
    world.admit("sub/a", "c")
    return world


def failed() -> World:
    """The same, with "b" FAILED, "deep" done and so the subplan FAILED, while "c" runs."""
    world = going()
    world.succeed("sub/a")
    world.admit("sub/b", "sub/deep/x")
    world.succeed("sub/deep/x")
    world.fail("sub/b")
    assert world.states == {
        "sub": "failed",
        "sub/a": "success",
        "sub/b": "failed",
        "sub/deep": "success",
        "sub/deep/x": "success",
        "c": "running",
        "tell": "skipped",
    }
    return world


# ── ending it ───────────────────────────────────────────────────────────────────────────────────


def test_cancelling_a_subplan_stops_what_runs_inside_and_cancels_what_waits() -> None:
    world = going()
    assert world.order(CancelTask, "sub") == [
        "TASK_STOPPING sub",
        "TASK_STOPPING sub/a",
        "TASK_CANCELLED sub/b",
        "TASK_CANCELLED sub/deep",
        "TASK_CANCELLED sub/deep/x",
        "stop sub/a#1",
    ]
    assert world.stopped("sub/a") == ["TASK_CANCELLED sub/a", "TASK_CANCELLED sub", "TASK_SKIPPED tell"]
    assert world.flying == ["c"]


def test_killing_a_subplan_kills_also_what_is_stopping() -> None:
    world = going()
    world.order(CancelTask, "sub")
    assert world.refuses(CancelTask, "sub") == "sub is stopping already; killing it ends it at once"
    assert "kill sub/a#1" in world.order(KillTask, "sub")


def test_cancelling_a_subplan_that_waits_cancels_all_of_it() -> None:
    world = World(plan(a="", sub=subplan({"x": "", "deep": subplan({"y": ""})}, "a"), tell="sub"))
    world.start()
    world.order(CancelTask, "sub")
    assert [state for name, state in world.states.items() if name.startswith("sub")] == ["cancelled"] * 4
    assert world.states["tell"] == "skipped"


def test_a_subplan_in_which_something_is_cancelled_ends_cancelled() -> None:
    world = going()
    world.succeed("sub/a")
    world.succeed("sub/b")
    world.order(CancelTask, "sub/deep/x")
    world.stopped("sub/deep/x")
    assert (world.states["sub/deep"], world.states["sub"]) == ("cancelled", "cancelled")


def test_skipping_a_subplan_skips_all_that_is_inside() -> None:
    world = World(plan(a="", sub=subplan({"x": ""}, "a"), go={"sub": "skipped"}))
    world.start()
    world.order(SkipTask, "sub")
    assert world.states["sub/x"] == "skipped"
    assert "go" in world.flying
    assert world.refuses(SkipTask, "sub").startswith("sub is skipped")


def test_a_subplan_that_runs_cannot_be_skipped() -> None:
    assert going().refuses(SkipTask, "sub").startswith("sub is running")


def test_marking_a_subplan_as_done_skips_what_has_not_run_and_makes_up_for_what_failed() -> None:
    world = failed()
    world.order(MarkSucceeded, "sub", reason="done by hand")
    assert world.last(TaskCompleted, "sub").reason == "done by hand"
    assert "tell" in world.flying
    world.succeed("tell", "c")
    ended = world.last(PlanCompleted)
    assert (ended.outcome, ended.failed, ended.tolerated, ended.skipped) == (Outcome.SUCCESS, 0, 1, 1)


def test_a_subplan_in_which_something_runs_cannot_be_marked_as_done() -> None:
    assert going().refuses(MarkSucceeded, "sub", reason="-") == "sub is running: cancel it first"


def test_a_subplan_in_which_nothing_runs_can_be_marked_as_done() -> None:
    inside = {"x": "", "deep": subplan({"y": ""})}
    world = World(plan(sub=subplan(inside), other=task(priority=90), tell="sub"), max_parallel=1)
    world.start()
    assert (world.states["sub/deep"], world.states["sub/x"]) == ("running", "ready")
    world.order(MarkSucceeded, "sub", reason="done by hand")
    assert [state for name, state in world.states.items() if name.startswith("sub/")] == ["skipped"] * 3
    world.succeed("other")
    assert world.flying == ["tell"]


# ── holding and pausing ─────────────────────────────────────────────────────────────────────────


def test_nothing_new_starts_inside_of_a_subplan_that_is_held() -> None:
    world = going()
    world.order(HoldTask, "sub")
    world.succeed("sub/a")
    assert world.flying == ["c"]
    assert world.states["sub/deep"] == "ready"
    world.succeed("c")
    assert world.phase is RunPhase.RUNNING
    assert world.order(ReleaseTask, "sub") == [
        "TASK_RELEASED sub",
        "TASK_STARTED sub/deep",
        "start sub/b#1",
        "start sub/deep/x#1",
    ]


def test_a_subplan_that_waits_can_be_held() -> None:
    world = World(plan(a="", sub=subplan({"x": ""}, "a")))
    world.start()
    world.order(HoldTask, "sub")
    world.succeed("a")
    assert world.states["sub"] == "ready"
    assert world.order(ReleaseTask, "sub")[1:] == ["TASK_STARTED sub", "start sub/x#1"]


def test_a_subplan_begins_only_when_the_run_goes_on() -> None:
    world = World(plan(a="", sub=subplan({"x": ""}, "a")))
    world.start()
    world.send(PausePlan())
    world.succeed("a")
    assert world.states["sub"] == "ready"
    assert world.send(ResumePlan()) == ["PLAN_RESUMED", "TASK_STARTED sub", "start sub/x#1"]


def test_a_scope_is_paused_and_resumed_alone() -> None:
    world = going()
    scope = world.scope("sub")
    world.send(PausePlan(scope=scope))
    world.succeed("sub/a")
    assert world.flying == ["c"]
    assert world.refused(PausePlan(scope=scope)) == "sub is paused already"
    assert world.send(ResumePlan(scope=scope))[0] == "PLAN_RESUMED"
    assert world.flying == ["sub/b", "sub/deep/x", "c"]
    assert world.refused(ResumePlan(scope=scope)) == "sub is not paused"


def test_a_subplan_that_is_over_cannot_be_paused() -> None:
    assert failed().refused(PausePlan(scope=1)) == "sub is over already: failed"


def test_a_pause_that_a_failure_brought_is_lifted_by_a_retry_inside() -> None:
    world = World(plan(sub=subplan({"a": task(priority=90), "b": ""}, mode=PAUSE, slots=1)))
    world.start()
    world.fail("sub/a")
    assert world.order(RetryTask, "sub/a") == ["PLAN_RESUMED", "TASK_RESET sub/a", "start sub/a#2"]


def test_a_pause_made_ones_own_is_not() -> None:
    world = World(plan(sub=subplan({"a": task(priority=90), "b": ""}, mode=PAUSE, slots=1)))
    world.start()
    world.fail("sub/a")
    world.send(PausePlan(scope=1))
    assert world.order(RetryTask, "sub/a") == ["TASK_RESET sub/a"]


def test_the_failure_mode_inside_can_be_changed() -> None:
    world = going()
    world.send(SetFailureMode(mode=FAIL_FAST, scope=1))
    changed = world.last(FailureModeChanged)
    assert (changed.scope, changed.old, changed.new) == (1, CONTINUE, FAIL_FAST)
    assert world.refused(SetFailureMode(mode=FAIL_FAST, scope=1)) == (
        "the failure mode of sub is fail_fast already"
    )
    world.fail("sub/a")
    assert world.states["sub"] == "failed"
    assert world.flying == ["c"]


def test_draining_ends_a_subplan_with_what_is_inside() -> None:
    world = going()
    world.send(DrainPlan())
    world.succeed("sub/a")
    world.succeed("c")
    assert world.phase is RunPhase.COMPLETE
    assert world.states["sub"] == "cancelled"
    assert world.scheduler.outcome is Outcome.CANCELLED


def test_cancelling_the_run_ends_subplans_too() -> None:
    world = going()
    world.send(CancelPlan())
    world.stopped("c")
    world.stopped("sub/a")
    assert world.phase is RunPhase.COMPLETE
    assert world.states["sub"] == "cancelled"


# ── again ───────────────────────────────────────────────────────────────────────────────────────


def test_retrying_a_subplan_runs_again_what_did_not_succeed_inside() -> None:
    world = failed()
    assert world.order(RetryTask, "sub") == [
        "TASK_RESET sub",
        "TASK_RESET sub/b",
        "TASK_RESET tell",
        "TASK_RETRIED sub",
        "start sub/b#2",
    ]
    world.succeed("sub/b")
    assert world.flying == ["c", "tell"]


def test_retrying_a_subplan_that_succeeded_runs_all_of_it_again() -> None:
    world = going()
    world.succeed("sub/a")
    world.succeed("sub/b", "sub/deep/x", "tell")
    world.order(RetryTask, "sub")
    assert [event.task for event in world.all(TaskReset)] == [
        "sub",
        "sub/a",
        "sub/b",
        "sub/deep",
        "sub/deep/x",
    ]
    assert world.flying == ["sub/a", "c"]


def test_retrying_inside_of_a_subplan_that_is_over_reopens_it() -> None:
    world = failed()
    assert world.order(RetryTask, "sub/b") == [
        "TASK_RESET sub",
        "TASK_RESET sub/b",
        "TASK_RESET tell",
        "TASK_RETRIED sub",
        "start sub/b#2",
    ]
    assert world.last(TaskRetried, "sub").cause == "operator"
    world.succeed("sub/b")
    world.succeed("tell", "c")
    assert world.scheduler.outcome is Outcome.SUCCESS


def test_retrying_deep_inside_of_a_complete_run_reopens_all_around() -> None:
    world = World(plan(a=subplan({"b": subplan({"c": ""})}), d="a"))
    world.start()
    world.fail("a/b/c")
    assert world.phase is RunPhase.COMPLETE
    world.order(RetryTask, "a/b/c")
    world.succeed("a/b/c")
    world.succeed("d")
    assert world.scheduler.outcome is Outcome.SUCCESS


def test_retrying_all_failed_reopens_the_subplans_and_runs_only_what_failed_inside() -> None:
    world = failed()
    world.send(RetryFailed())
    assert world.flying == ["sub/b", "c"]
    world.succeed("sub/b")
    assert world.states["sub"] == "success"


def test_what_a_subplan_makes_up_for_is_not_among_the_failed() -> None:
    world = World(plan(sub=subplan({"a": ""}, skip_on_failure=True)))
    world.start()
    world.fail("sub/a")
    assert world.refused(RetryFailed()) == "no task has failed"
    world.order(RetryTask, "sub/a")
    world.succeed("sub/a")
    assert world.states["sub"] == "success"


def test_retrying_with_all_after_it_goes_out_of_the_subplan_and_into_the_next() -> None:
    later = subplan({"p": "", "q": "p"}, "sub")
    world = World(plan(sub=subplan({"a": "", "b": "a", "c": ""}), later=later, end="later", other=""))
    world.start()
    for names in (["sub/a", "sub/c", "other"], ["sub/b"], ["later/p"], ["later/q"], ["end"]):
        world.succeed(*names)
    world.order(RetryTask, "sub/a", downstream=True)
    assert {event.task for event in world.all(TaskReset)} == {
        "sub",
        "sub/a",
        "sub/b",
        "later",
        "later/p",
        "later/q",
        "end",
    }
    for names in (["sub/a"], ["sub/b"], ["later/p"], ["later/q"], ["end"]):
        world.succeed(*names)
    assert world.scheduler.outcome is Outcome.SUCCESS


def test_what_fail_fast_outside_cancelled_inside_comes_back_with_the_culprit() -> None:
    world = World(plan(FAIL_FAST, sub=subplan({"a": "", "b": "a"}), c=""))
    world.start()
    world.admit("sub/a", "c")
    world.fail("c")
    world.order(RetryTask, "c")  # while "a" is still stopping
    world.stopped("sub/a")
    assert world.flying == ["sub/a", "c"]
    world.succeed("c")
    world.succeed("sub/a")
    world.succeed("sub/b")
    assert world.scheduler.outcome is Outcome.SUCCESS


def test_nothing_inside_can_be_retried_while_the_subplan_is_stopping() -> None:
    world = going()
    world.order(CancelTask, "sub")
    assert world.refuses(RetryTask, "sub/b") == "sub is stopping: wait until it has ended"


def test_nothing_inside_can_be_retried_of_a_subplan_that_cannot_run() -> None:
    world = World(plan(a="", sub=subplan({"x": ""}, "a")))
    world.start()
    world.fail("a")
    assert world.refuses(RetryTask, "sub/x") == "sub cannot run: a failed; retry that first"


def test_a_retry_inside_cuts_the_back_off_of_the_subplan_short() -> None:
    world = World(plan(sub=subplan({"a": "", "b": ""}, retry=1)))
    world.start()
    world.fail("sub/a")
    world.fail("sub/b")
    assert world.states["sub"] == "retrying"
    world.order(RetryTask, "sub/a")
    assert world.flying == ["sub/a"]
    world.succeed("sub/a")
    world.wait(1.0)
    assert world.flying == ["sub/b"]  # the retries of the subplan are counted afresh


def test_the_back_off_of_a_subplan_can_be_cut_short() -> None:
    world = World(plan(sub=subplan({"a": "", "b": ""}, retry=1)))
    world.start()
    world.succeed("sub/a")
    world.fail("sub/b")
    assert world.order(RetryTask, "sub")[-1] == "start sub/b#2"


def test_marking_inside_of_a_subplan_that_failed_lets_it_go_on() -> None:
    world = World(plan(sub=subplan({"a": "", "b": "a"}), tell="sub"))
    world.start()
    world.fail("sub/a")
    world.order(MarkSucceeded, "sub/a", reason="seen to it")
    assert world.flying == ["sub/b"]
    world.succeed("sub/b")
    assert world.flying == ["tell"]


def test_marking_inside_may_bring_the_subplan_back_by_itself() -> None:
    deep = subplan({"x": ""}, "a")
    world = World(plan(FAIL_FAST, sub=subplan({"a": "", "deep": deep}, mode=FAIL_FAST), c=""))
    world.start()
    world.admit("sub/a", "c")
    world.fail("c")
    world.stopped("sub/a")
    world.order(MarkSucceeded, "c", reason="seen to it")
    world.fail("sub/a")
    world.order(MarkSucceeded, "sub/deep/x", reason="seen to it")
    assert world.states["sub/deep/x"] == "success"
    world.order(MarkSucceeded, "sub/a", reason="seen to it")
    assert world.scheduler.outcome is Outcome.SUCCESS


def test_marking_inside_cuts_the_back_off_of_a_held_subplan_short_and_holds_it_still() -> None:
    world = World(plan(sub=subplan({"a": "", "b": "a"}, retry=1)))
    world.start()
    world.fail("sub/a")
    world.order(HoldTask, "sub")
    world.order(MarkSucceeded, "sub/a", reason="seen to it")
    assert (world.states["sub"], world.states["sub/b"]) == ("ready", "pending")
    world.order(ReleaseTask, "sub")
    assert world.flying == ["sub/b"]
