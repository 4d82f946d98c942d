"""Going on from a snapshot: what has ended stays ended, what was cut off runs again."""

from __future__ import annotations

from random import Random

import pytest

from engine.core.events import PlanCompleted, TaskCompleted, TaskReset, TaskRetried
from engine.core.inputs import (
    CancelTask,
    HoldTask,
    OutcomeKind,
    PausePlan,
    ReleaseTask,
    ResumePlan,
    RetryFailed,
    SetFailureMode,
    SetMaxParallel,
)
from engine.core.records import INTERRUPTED, retries_among
from engine.core.scheduler import Scheduler
from engine.core.state import Outcome, RunPhase, TaskState
from engine.plan.model import FailureMode
from engine.view.snapshot import snapshot_after
from tests.support.world import World, plan, subplan, task

FAIL_FAST = FailureMode.FAIL_FAST


def gone_on(world: World, adopted: str = "") -> World:
    """A second world that knows of the first only what its events tell, right after its start. adopted: names
    of tasks whose dispatcher still has them."""
    graph = world.scheduler.graph
    indices = {world.index(name) for name in adopted.split()}
    snapshot = snapshot_after(graph, world.events, "run")
    after = World(graph.plan, checked=False, snapshot=snapshot, adopted=indices)
    after.offset = world.offset
    after.words = after.start()  # type: ignore[attr-defined]
    after.scheduler.check_invariants()
    return after


def begin(after: World) -> list[str]:
    """What going on led to: events, then effects."""
    return after.words  # type: ignore[attr-defined,no-any-return]


def test_what_was_running_runs_again_and_what_had_finished_does_not() -> None:
    world = World(plan(a="", b="a", c="a", d="b c"))
    world.start()
    world.succeed("a")
    world.admit("b")
    after = gone_on(world)
    assert begin(after) == ["PLAN_RESUMED", "TASK_RESET b", "start b#2", "start c#1"]
    records = after.scheduler.snapshot().tasks[1].attempts
    assert [(record.number, record.error) for record in records] == [(1, INTERRUPTED)]
    assert after.scheduler.snapshot().tasks[0].state is TaskState.SUCCESS


def test_an_interruption_uses_up_no_retry() -> None:
    world = World(plan(a=task(retry=1)))
    world.start()
    world.fail("a")
    world.wait(1.0)
    world.admit("a")
    snapshot = snapshot_after(world.scheduler.graph, world.events, "r")
    assert snapshot.tasks[0].retries == 1
    after = gone_on(world)
    assert after.scheduler.snapshot().tasks[0].retries == 1


def test_an_attempt_in_place_of_an_interrupted_one_is_no_retry() -> None:
    world = World(plan(a="", b=task(retry=1)))
    world.start()
    world.admit("a")
    world.fail("b")  # waits for its second attempt
    after = gone_on(world)
    after.succeed("a")
    after.succeed("b")
    assert [event.retried for event in after.events if isinstance(event, PlanCompleted)] == [1]
    causes = {event.task: event.cause for event in after.events if isinstance(event, TaskRetried)}
    assert causes == {"a": INTERRUPTED, "b": "resume"}
    # and it is counted alike by who goes on with it once more
    graph = world.scheduler.graph
    snapshot = snapshot_after(graph, [*world.events, *after.events], "run")
    assert sum(retries_among(task.attempts) for task in snapshot.tasks) == 1


def test_a_run_that_is_complete_only_because_events_are_missing_goes_on() -> None:
    world = World(plan(a="", b=""))
    world.start()
    world.succeed("a")
    world.succeed("b")
    kept = [event for event in world.events if not (isinstance(event, TaskCompleted) and event.task == "b")]
    after = World(
        world.scheduler.graph.plan, checked=False, snapshot=snapshot_after(world.scheduler.graph, kept)
    )
    after.offset = world.offset
    assert after.start() == ["PLAN_RESUMED", "TASK_RESET b", "start b#2"]
    after.scheduler.check_invariants()


def test_a_back_off_is_over_with_the_engine() -> None:
    world = World(plan(a=task(retry=1)))
    world.start()
    world.fail("a")
    assert begin(gone_on(world)) == ["PLAN_RESUMED", "TASK_RESET a", "start a#2"]


def test_what_was_being_stopped_is_cancelled() -> None:
    world = World(plan(FAIL_FAST, a="", b="", c="b"))
    world.start()
    world.admit("a", "b")
    world.fail("a")
    after = gone_on(world)
    assert begin(after) == ["PLAN_RESUMED", "TASK_CANCELLED b", "PLAN_COMPLETED"]
    assert after.scheduler.outcome is Outcome.FAILED


def test_what_a_person_was_stopping_is_cancelled_and_its_dependents_skipped() -> None:
    world = World(plan(a="", b="a"))
    world.start()
    world.admit("a")
    world.order(CancelTask, "a")
    assert begin(gone_on(world)) == ["PLAN_RESUMED", "TASK_CANCELLED a", "TASK_SKIPPED b", "PLAN_COMPLETED"]


def test_what_a_time_out_was_stopping_runs_again() -> None:
    world = World(plan(a=task(timeout=1.0)))
    world.start()
    world.admit("a")
    world.wait(1.0)
    assert begin(gone_on(world)) == ["PLAN_RESUMED", "TASK_RESET a", "start a#2"]


def test_holds_and_skips_and_tolerated_failures_are_remembered() -> None:
    world = World(plan(a="", b="", c=task(skip_on_failure=True), d="c", e="x", x=""))
    world.start()
    world.order(HoldTask, "d")
    world.fail("c")
    world.fail("x")
    after = gone_on(world)
    snapshot = after.scheduler.snapshot()
    assert snapshot.tasks[3].held
    assert snapshot.tasks[2].tolerated
    assert snapshot.tasks[4].blocked_by == "x"


def test_a_complete_run_waits_for_a_command() -> None:
    world = World(plan(a="", b="a"))
    world.start()
    world.fail("a")
    after = gone_on(world)
    assert begin(after) == []
    assert after.scheduler.phase is RunPhase.COMPLETE
    assert after.send(RetryFailed()) == ["PLAN_RESUMED", "TASK_RESET a", "TASK_RESET b", "start a#2"]
    after.scheduler.check_invariants()


@pytest.mark.parametrize("given", [{}, {"max_parallel": 7, "failure_mode": FAIL_FAST}])
def test_settings_are_those_of_before_unless_others_are_given(given: dict[str, object]) -> None:
    world = World(plan(a=""), max_parallel=3)
    world.start()
    scheduler = world.scheduler
    snapshot = snapshot_after(scheduler.graph, world.events, "r")
    after = Scheduler(scheduler.graph, "r", random=Random(0), snapshot=snapshot, **given)  # type: ignore[arg-type]
    assert after.max_parallel == given.get("max_parallel", 3)
    assert after.failure_mode == given.get("failure_mode", FailureMode.CONTINUE_ON_ERROR)


# ── subplans ────────────────────────────────────────────────────────────────────────────────────


def test_a_subplan_goes_on_where_it_was() -> None:
    world = World(plan(sub=subplan({"a": "", "b": "a", "c": "b"}), d="sub"))
    world.start()
    world.succeed("sub/a")
    world.admit("sub/b")
    after = gone_on(world)
    assert begin(after) == ["PLAN_RESUMED", "TASK_RESET sub/b", "start sub/b#2"]
    after.succeed("sub/b", "sub/c")
    assert after.flying == ["d"]
    records = after.scheduler.snapshot().tasks[0].attempts
    assert [(record.number, record.error) for record in records] == [(1, None)]


def test_a_subplan_whose_last_task_had_ended_ends() -> None:
    world = World(plan(sub=subplan({"a": ""}), d="sub"))
    world.start()
    world.succeed("sub/a")
    events = world.events
    last = next(place for place, event in enumerate(events) if event.type == "TASK_COMPLETED")
    del events[last + 1 :]  # the end of the engine came between the two
    assert begin(gone_on(world)) == ["PLAN_RESUMED", "TASK_COMPLETED sub", "start d#1"]


def test_a_subplan_that_was_being_stopped_ends_stopped() -> None:
    world = World(plan(sub=subplan({"a": "", "b": "a"}), d=""))
    world.start()
    world.admit("sub/a")
    world.order(CancelTask, "sub")
    after = gone_on(world)
    assert after.states == {"sub": "cancelled", "sub/a": "cancelled", "sub/b": "cancelled", "d": "ready"}
    assert after.flying == ["d"]


def test_a_back_off_of_a_subplan_is_over_with_the_engine() -> None:
    world = World(plan(sub=subplan({"a": "", "b": "a"}, retry=1)))
    world.start()
    world.fail("sub/a")
    after = gone_on(world)
    assert after.states["sub"] == "running"
    assert after.flying == ["sub/a"]
    after.fail("sub/a")
    assert after.states["sub"] == "failed"  # the one retry was used up before


def test_slots_mode_pause_and_hold_of_a_subplan_are_kept() -> None:
    world = World(plan(sub=subplan({"a": "", "b": "", "deep": subplan({"x": ""})}, slots=1)))
    world.start()
    world.send(SetMaxParallel(slots=3, scope=1))
    world.send(SetFailureMode(mode=FAIL_FAST, scope=2))
    world.send(PausePlan(scope=1))
    world.order(HoldTask, "sub/deep")
    after = gone_on(world)
    scopes = after.scheduler.ledger.scopes.all
    assert (scopes[1].max_parallel, scopes[2].failure_mode) == (3, FAIL_FAST)
    assert after.flying == []
    after.send(ResumePlan(scope=1))
    assert after.flying == ["sub/a", "sub/b"]
    after.order(ReleaseTask, "sub/deep")
    assert after.flying == ["sub/a", "sub/b", "sub/deep/x"]


class TestAdoption:
    """What a dispatcher still has is handed to it again, with the number that it had."""

    def test_what_was_running_goes_on(self) -> None:
        world = World(plan(a="", b="a", c="a", d="b c"))
        world.start()
        world.succeed("a")
        world.admit("b")
        after = gone_on(world, "b")
        assert begin(after) == ["PLAN_RESUMED", "start b#1", "start c#1"]
        assert after.admit("b") == []
        after.succeed("b")
        after.succeed("c")
        after.succeed("d")
        assert [event.retried for event in after.events if isinstance(event, PlanCompleted)] == [0]
        (record,) = after.scheduler.snapshot().tasks[1].attempts
        assert (record.number, record.error, record.where) == (1, None, "pid of b")

    def test_what_had_been_handed_out_but_not_been_taken_up_is_not_handed_out_twice(self) -> None:
        world = World(plan(a="", b=""))
        world.start()
        after = gone_on(world, "a")
        assert begin(after) == ["PLAN_RESUMED", "start a#1", "start b#1"]
        assert after.admit("a") == ["TASK_STARTED a"]
        assert after.succeed("a") == ["TASK_COMPLETED a"]

    def test_a_retry_that_had_been_handed_out(self) -> None:
        world = World(plan(a=task(retry=1)))
        world.start()
        world.fail("a")
        world.wait(1.0)
        after = gone_on(world, "a")
        assert begin(after) == ["PLAN_RESUMED", "start a#2"]
        assert after.admit("a") == ["TASK_RETRIED a"]
        assert after.fail("a") == ["TASK_FAILED a", "PLAN_COMPLETED"]

    @pytest.mark.parametrize("is_taken_up", [True, False])
    def test_what_was_being_stopped_is_stopped_again(self, is_taken_up: bool) -> None:
        world = World(plan(a="", b="a"))
        world.start()
        if is_taken_up:
            world.admit("a")
        world.order(CancelTask, "a")
        after = gone_on(world, "a")
        assert begin(after) == ["PLAN_RESUMED", "start a#1", "stop a#1"]
        assert after.stopped("a") == ["TASK_CANCELLED a", "TASK_SKIPPED b", "PLAN_COMPLETED"]

    def test_a_time_out_counts_from_the_start_of_the_attempt(self) -> None:
        world = World(plan(a=task(timeout=5.0)))
        world.start()
        world.wait(1.0)
        world.admit("a")
        world.wait(2.0)
        after = gone_on(world, "a")
        assert after.wait(2.9) == []
        assert after.wait(0.2) == ["TASK_STOPPING a", "stop a#1"]

    def test_slots_of_a_subplan_are_taken(self) -> None:
        world = World(plan(s=subplan({"a": "", "b": ""}, slots=1)))
        world.start()
        world.admit("s/a")
        after = gone_on(world, "s/a")
        assert begin(after) == ["PLAN_RESUMED", "start s/a#1"]
        assert after.succeed("s/a") == ["TASK_COMPLETED s/a", "start s/b#1"]


GONE = "the worker has gone"


class TestLoss:
    """An attempt that ended with the machine that it was on."""

    def test_another_is_made_and_no_retry_used_up(self) -> None:
        world = World(plan(a=""))
        world.start()
        world.admit("a")
        assert world.finish("a", OutcomeKind.LOST, GONE) == ["TASK_RESET a", "start a#2"]
        world.admit("a")
        world.succeed("a")
        assert [event.retried for event in world.events if isinstance(event, PlanCompleted)] == [0]
        assert [event.cause for event in world.events if isinstance(event, TaskReset)] == [GONE]
        snapshot = snapshot_after(world.scheduler.graph, world.events, "run")
        assert snapshot.tasks == world.scheduler.snapshot().tasks

    def test_the_third_in_a_row_is_a_failure(self) -> None:
        world = World(plan(a=task(retry=1), b="a"))
        world.start()
        for number in (1, 2):
            world.admit("a")
            lost = world.finish("a", OutcomeKind.LOST, GONE)
            assert lost == ["TASK_RESET a", f"start a#{number + 1}"]
        world.admit("a")
        assert world.finish("a", OutcomeKind.LOST, GONE) == ["RETRY_SCHEDULED a"]
        world.wait(1.0)
        world.admit("a")
        assert world.finish("a", OutcomeKind.LOST, GONE) == ["TASK_RESET a", "start a#5"]

    def test_what_is_lost_while_it_is_being_stopped_has_ended(self) -> None:
        world = World(plan(a=""))
        world.start()
        world.admit("a")
        world.order(CancelTask, "a")
        assert world.finish("a", OutcomeKind.LOST, GONE) == [
            "TASK_CANCELLED a",
            "PLAN_COMPLETED",
        ]
