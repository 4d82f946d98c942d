"""Subplans: when they begin and end, what they count, and whose limits and failure modes hold in them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from engine.core.events import DispatchDeferred, PlanCompleted, PlanPaused, TaskFailed, TaskStarted
from engine.core.inputs import OutcomeKind, ResumePlan, SetMaxParallel
from engine.core.state import Outcome, RunPhase, TaskState
from engine.errors import PlanInvalid
from engine.plan.graph import Graph
from engine.plan.model import FailureMode, Plan, Subplan, Task
from tests.support.live_world import FAILURE, SUCCESS, LiveWorld, Play, script
from tests.support.world import World, plan, subplan, task

FAIL_FAST = FailureMode.FAIL_FAST
CONTINUE = FailureMode.CONTINUE_ON_ERROR
PAUSE = FailureMode.PAUSE_ON_FAILURE


# ── beginning and ending ────────────────────────────────────────────────────────────────────────


def test_a_subplan_begins_when_its_needs_are_met_and_only_then_what_is_inside() -> None:
    world = World(plan(build="", rollout=subplan({"a": "", "b": "a"}, "build"), tell="rollout"))
    assert world.start() == ["PLAN_STARTED", "start build#1"]
    assert world.state("rollout/a") is TaskState.PENDING
    assert world.succeed("build") == [
        "TASK_STARTED build",
        "TASK_COMPLETED build",
        "TASK_STARTED rollout",
        "start rollout/a#1",
    ]
    started = world.last(TaskStarted, "rollout")
    assert (started.attempt, started.state, started.where) == (1, TaskState.RUNNING, "")
    assert world.flying == ["rollout/a"]


def test_a_subplan_ends_when_all_that_is_inside_has_ended() -> None:
    world = World(plan(rollout=subplan({"a": "", "b": ""}), tell="rollout"))
    world.start()
    assert world.state("rollout") is TaskState.RUNNING
    world.succeed("rollout/a")
    assert world.state("tell") is TaskState.PENDING
    assert world.succeed("rollout/b")[-2:] == ["TASK_COMPLETED rollout", "start tell#1"]


def test_an_empty_subplan_succeeds_at_once() -> None:
    world = World(plan(rollout=subplan({}), tell="rollout"))
    assert world.start() == [
        "PLAN_STARTED",
        "TASK_STARTED rollout",
        "TASK_COMPLETED rollout",
        "start tell#1",
    ]


def test_subplans_in_subplans_begin_and_end_one_with_the_other() -> None:
    inner = subplan({"x": ""})
    world = World(plan(outer=subplan({"middle": subplan({"inner": inner})}), tell="outer"))
    assert world.start()[-1] == "start outer/middle/inner/x#1"
    assert world.succeed("outer/middle/inner/x")[2:] == [
        "TASK_COMPLETED outer/middle/inner",
        "TASK_COMPLETED outer/middle",
        "TASK_COMPLETED outer",
        "start tell#1",
    ]


def test_what_is_inside_a_subplan_that_cannot_run_is_skipped_with_it() -> None:
    world = World(plan(build="", rollout=subplan({"a": "", "in": subplan({"b": ""})}, "build")))
    world.start()
    world.fail("build")
    assert world.states == {
        "build": "failed",
        "rollout": "skipped",
        "rollout/a": "skipped",
        "rollout/in": "skipped",
        "rollout/in/b": "skipped",
    }
    assert world.scheduler.ledger.reasons[world.index("rollout/a")] == "rollout was skipped"


def test_subplans_are_not_counted_among_the_tasks_of_a_run() -> None:
    world = LiveWorld(plan(a="", rollout=subplan({"b": "", "in": subplan({"c": ""})}))).run()
    ended = world.last(PlanCompleted)
    assert (ended.success, ended.outcome) == (3, Outcome.SUCCESS)


# ── how a subplan fails ─────────────────────────────────────────────────────────────────────────


def test_fail_fast_inside_names_the_first_failure_and_stops_only_the_inside() -> None:
    world = World(plan(rollout=subplan({"a": "", "b": "", "c": "a"}, mode=FAIL_FAST), other=""))
    world.start()
    world.admit("rollout/a", "rollout/b", "other")
    said = world.fail("rollout/a", "exit 3")
    assert "stop rollout/b#1" in said
    assert "stop other#1" not in said
    world.stopped("rollout/b")
    assert world.last(TaskFailed, "rollout").error == "rollout/a failed: exit 3"
    assert world.flying == ["other"]
    world.succeed("other")
    assert world.scheduler.outcome is Outcome.FAILED
    assert world.last(PlanCompleted).failed == 1


def test_continue_on_error_inside_names_every_failure_in_the_order_of_time() -> None:
    world = World(plan(rollout=subplan({"a": "", "b": "", "c": ""}, mode=CONTINUE)))
    world.start()
    world.admit("rollout/a", "rollout/b", "rollout/c")
    world.offset = 1.0
    world.fail("rollout/b", "exit 3")
    world.offset = 2.0
    world.succeed("rollout/c")
    world.fail("rollout/a", "exit 4")
    assert world.last(TaskFailed, "rollout").error == "2 tasks failed: rollout/b: exit 3; rollout/a: exit 4"


def test_fail_fast_outside_stops_all_that_is_inside_as_well() -> None:
    inside = subplan({"a": "", "deep": subplan({"b": ""}), "c": "a"})
    world = World(plan(FAIL_FAST, rollout=inside, other="", answer={"other": "failed"}))
    world.start()
    world.admit("rollout/a", "rollout/deep/b", "other")
    world.fail("other")
    assert world.states["rollout/c"] == "cancelled"
    assert world.states["rollout"] == "stopping"
    assert world.stopped("rollout/a") == ["TASK_CANCELLED rollout/a"]
    assert world.stopped("rollout/deep/b") == [
        "TASK_CANCELLED rollout/deep/b",
        "TASK_CANCELLED rollout/deep",
        "TASK_CANCELLED rollout",
    ]
    assert world.flying == ["answer"]


def test_a_subplan_that_answers_a_failure_survives_with_all_that_is_inside() -> None:
    rescue = subplan({"a": "", "b": "a"}, {"other": "failed"}, mode=FAIL_FAST)
    world = World(plan(FAIL_FAST, other="", rescue=rescue, third="rescue", bystander=""))
    world.start()
    world.admit("other", "bystander")
    world.fail("other")
    world.stopped("bystander")
    world.succeed("rescue/a")
    world.succeed("rescue/b")
    world.succeed("third")
    assert world.states["rescue"] == "success"


def test_fail_fast_holds_inside_of_a_subplan_that_answers_a_failure() -> None:
    rescue = subplan({"a": "", "b": "", "c": "b"}, {"other": "failed"}, mode=FAIL_FAST)
    world = World(plan(FAIL_FAST, other="", rescue=rescue))
    world.start()
    world.fail("other")
    world.admit("rescue/a", "rescue/b")
    assert "stop rescue/b#1" in world.fail("rescue/a")
    world.stopped("rescue/b")
    assert world.states["rescue/c"] == "cancelled"
    assert world.phase is RunPhase.COMPLETE


def test_the_outer_failure_mode_governs_the_failure_of_the_subplan() -> None:
    world = World(plan(FAIL_FAST, rollout=subplan({"a": "", "b": ""}, mode=CONTINUE), other=""))
    world.start()
    world.admit("rollout/b", "other")
    assert "stop other#1" not in world.fail("rollout/a")
    assert "stop other#1" in world.succeed("rollout/b")


def test_pause_on_failure_inside_pauses_only_that_scope() -> None:
    inside = {"a": task(priority=90), "b": "", "sub": subplan({"x": ""}, "b")}
    world = World(plan(rollout=subplan(inside, mode=PAUSE, slots=1), other="", after="other"))
    world.start()
    world.fail("rollout/a")
    paused = world.last(PlanPaused)
    assert (paused.scope, paused.phase) == (world.scope("rollout"), RunPhase.RUNNING)
    assert world.succeed("other")[-1] == "start after#1"
    world.succeed("after")
    assert world.phase is RunPhase.RUNNING  # not stuck: a person is waited for
    assert world.send(ResumePlan(scope=world.scope("rollout"))) == ["PLAN_RESUMED", "start rollout/b#1"]
    assert world.succeed("rollout/b")[-1] == "start rollout/sub/x#1"
    world.succeed("rollout/sub/x")
    assert world.states["rollout"] == "failed"


def test_what_needs_the_failure_of_a_subplan_runs() -> None:
    world = World(
        plan(
            FAIL_FAST,
            rollout=subplan({"a": "", "b": "a"}, mode=FAIL_FAST),
            tell={"rollout": "failed"},
            clean={"rollout": "finished"},
            go="rollout",
        )
    )
    world.start()
    world.fail("rollout/a")
    assert world.flying == ["tell", "clean"]
    assert world.states["go"] == "skipped"


def test_a_failure_that_the_subplan_tolerates_is_none_of_the_run() -> None:
    rollout = subplan({"a": "", "b": "a"}, skip_on_failure=True)
    world = LiveWorld(plan(FAIL_FAST, rollout=rollout, go="rollout"), script(**{"rollout/a": FAILURE})).run()
    ended = world.last(PlanCompleted)
    assert world.states["go"] == "success"
    assert (ended.outcome, ended.failed, ended.skipped, ended.tolerated) == (Outcome.SUCCESS, 0, 2, 1)


def test_a_subplan_is_tried_again_as_its_retry_says_and_only_what_failed_inside() -> None:
    rollout = subplan({"a": "", "b": "", "c": "b"}, mode=CONTINUE, retry=1)
    world = LiveWorld(plan(rollout=rollout), script(**{"rollout/b": (FAILURE, SUCCESS)})).run()
    assert world.started == ["rollout/b#1", "rollout/a#1", "rollout/b#2", "rollout/c#1"]
    assert world.states["rollout"] == "success"
    assert [record.error for record in world.scheduler.ledger.history[0] or ()] == [
        "1 task failed: rollout/b: it broke",
        None,
    ]
    assert world.last(PlanCompleted).outcome is Outcome.SUCCESS


def test_a_subplan_fails_when_its_retries_are_used_up() -> None:
    world = LiveWorld(
        plan(rollout=subplan({"a": ""}, retry=2), tell={"rollout": "failed"}),
        script(**{"rollout/a": FAILURE}),
    ).run()
    assert world.started == ["rollout/a#1", "rollout/a#2", "rollout/a#3", "tell#1"]
    failed = world.last(TaskFailed, "rollout")
    assert (failed.retry_count, failed.max_retries) == (2, 2)


def test_a_pause_that_a_failure_brought_does_not_outlast_the_attempt() -> None:
    world = LiveWorld(
        plan(rollout=subplan({"a": ""}, mode=PAUSE, retry=1)), script(**{"rollout/a": (FAILURE, SUCCESS)})
    ).run()
    assert world.states["rollout"] == "success"


def test_a_subplan_that_takes_too_long_is_stopped_with_all_that_is_inside() -> None:
    rollout = subplan({"a": "", "b": "a", "deep": subplan({"c": ""})}, timeout=2.5)
    world = LiveWorld(plan(rollout=rollout), script(**{"rollout/deep/c": Play(duration=9.0)})).run()
    assert world.offset == 2.5
    assert world.last(TaskFailed, "rollout").error == (
        "1 task failed: rollout/deep: 1 task failed: rollout/deep/c: rollout timed out after 2.5s"
    )


def test_a_subplan_that_timed_out_is_tried_again_with_what_was_stopped() -> None:
    rollout = subplan({"a": "", "b": "a"}, timeout=2.5, retry=1)
    world = LiveWorld(plan(rollout=rollout), script(**{"rollout/a": (Play(duration=9.0), SUCCESS)})).run()
    assert world.states["rollout"] == "success"
    assert world.started == ["rollout/a#1", "rollout/a#2", "rollout/b#1"]


# ── slots ───────────────────────────────────────────────────────────────────────────────────────


def wide(count: int) -> dict[str, str]:
    return {f"t{number}": "" for number in range(count)}


def test_every_limit_around_a_task_holds() -> None:
    deep = subplan(wide(6), slots=3)
    world = LiveWorld(plan(rollout=subplan({"deep": deep, "x": "", "y": ""}, slots=2), other=""))
    world.run()
    assert world.peaks == {"rollout": 2, "rollout/deep": 2}
    assert world.peak == 3


def test_a_full_subplan_does_not_hold_up_the_rest() -> None:
    world = World(plan(first=subplan(wide(3), slots=1), **wide(4)), max_parallel=4)
    world.start()
    assert len([name for name in world.flying if name.startswith("first/")]) == 1
    assert len(world.flying) == 4


def test_a_slot_inside_goes_to_the_next_inside_as_soon_as_it_is_free() -> None:
    world = World(plan(first=subplan(wide(3), slots=1)))
    world.start()
    assert world.succeed("first/t0")[-1] == "start first/t1#1"


def test_more_slots_inside_start_more_at_once_and_fewer_drain() -> None:
    world = World(plan(first=subplan(wide(6), slots=1)))
    world.start()
    scope = world.scope("first")
    assert len(world.send(SetMaxParallel(slots=3, scope=scope))) == 3
    assert world.send(SetMaxParallel(slots=1, scope=scope)) == ["MAX_PARALLEL_CHANGED"]
    world.succeed("first/t0", "first/t1")
    assert world.flying == ["first/t2"]
    assert world.refused(SetMaxParallel(slots=1, scope=scope)) == "max_parallel of first is 1 already"
    assert world.refused(SetMaxParallel(slots=3, scope=9)) == "there is no subplan number 9"


def test_deep_nesting_with_one_slot_everywhere_comes_to_its_end() -> None:
    spec = subplan({"last": ""}, slots=1)
    for _ in range(60):
        spec = subplan({"before": "", "in": spec, "after": "in"}, "", slots=1)
    world = LiveWorld(plan(top=spec), max_parallel=1, checked=False).run()
    world.scheduler.check_invariants()
    assert world.last(PlanCompleted).success == 121
    assert world.peak == 1


def test_fifteen_subplans_share_ten_slots_and_leak_none() -> None:
    tasks = {f"sub{number}": subplan(wide(8), slots=4) for number in range(15)}
    world = LiveWorld(plan(**tasks), max_parallel=10).run()
    assert world.peak == 10
    assert max(world.peaks.values()) <= 4
    assert all(scope.used == 0 for scope in world.scheduler.ledger.scopes.all)
    assert world.offset <= 13.0  # 120 tasks of a second: slots are idle only at the end, if at all


def test_a_thousand_tasks_over_five_levels_keep_every_limit() -> None:
    def level(depth: int) -> dict[str, object]:
        tasks: dict[str, object] = {f"t{number}": "" for number in range(8 if depth < 5 else 9)}
        if depth < 5:
            for number in range(3):
                tasks[f"s{number}"] = subplan(level(depth + 1), slots=depth + 1)  # type: ignore[arg-type]
        return tasks

    given = plan(**level(1))  # type: ignore[arg-type]
    assert len(given.tasks) >= 1_000
    world = LiveWorld(given, max_parallel=7, checked=False).run()
    world.scheduler.check_invariants()
    assert world.phase is RunPhase.COMPLETE
    assert world.peak == 7
    limits = {given.subplans[number].name: given.subplans[number].max_parallel for number in range(120)}
    assert all(0 < world.peaks[name] <= limit for name, limit in limits.items())


# ── order and capacity ──────────────────────────────────────────────────────────────────────────


def test_the_order_of_ranks_holds_across_scopes() -> None:
    world = World(
        plan(
            low=task(priority=10),
            first=subplan({"a": task(priority=90), "b": task(priority=20)}),
            second=subplan({"deep": subplan({"c": task(priority=80)})}),
            high=task(priority=30),
        ),
        max_parallel=1,
    )
    world.start()
    while world.flying:
        world.succeed(*world.flying)
    assert world.started == ["first/a#1", "second/deep/c#1", "high#1", "first/b#1", "low#1"]


def test_the_longest_path_leads_through_a_subplan_and_out_of_it() -> None:
    graph = Graph(plan(a="", sub=subplan({"x": "", "y": "x"}), z="sub"))
    names = [task.name for task in graph.plan.tasks]
    assert [names[index] for index in graph.critical_path()] == ["sub", "sub/x", "sub/y", "z"]
    assert [[names[index] for index in wave] for wave in graph.waves] == [
        ["a", "sub"],
        ["sub/x"],
        ["sub/y"],
        ["z"],
    ]
    assert [names[index] for index in graph.order] == ["a", "sub", "sub/x", "sub/y", "z"]


def test_a_dispatcher_that_takes_three_of_a_hundred_is_neither_spun_on_nor_starved() -> None:
    tasks = {f"sub{number}": subplan(wide(10), slots=10) for number in range(10)}
    world = LiveWorld(plan(**tasks), max_parallel=32, capacity=3, checked=False).run()
    assert world.last(PlanCompleted).success == 100
    deferrals = world.all(DispatchDeferred)
    rounds = sorted({event.offset for event in deferrals})
    # what is refused at once is asked for again at once, and never sooner than the back-off says
    assert all(later - earlier >= 0.1 - 1e-9 for earlier, later in pairwise(rounds))
    assert len(deferrals) <= len(rounds) * (32 - 3)
    assert world.offset < 34 * 1.5  # a success resets the back-off, so the three are never idle for long


def test_a_dispatcher_that_takes_nothing_is_asked_ever_more_rarely_in_all_scopes_together() -> None:
    tasks = {f"sub{number}": subplan(wide(2)) for number in range(2)}
    world = World(plan(**tasks), max_parallel=4)
    world.start()
    waits = []
    for _ in range(8):
        world.refuse(*world.flying)
        due = world.scheduler.next_deadline()
        assert due is not None
        waits.append(round(due - world.offset, 3))
        world.wait(due - world.offset)
        assert len(world.flying) == 4
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_full_executor_holds_up_only_its_own_tasks_inside_too() -> None:
    inside = {"x": task(executor="dask", priority=90), "y": ""}
    world = World(plan(sub=subplan(inside, slots=1)))
    world.start()
    world.finish("sub/x", OutcomeKind.REFUSED, "all busy")
    assert world.flying == ["sub/y"]
    world.wait(0.1)
    assert world.succeed("sub/y")[-1] == "start sub/x#1"


# ── plans that contradict themselves ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tasks", "subplans"),
    [
        ((Task(name="p", plan="p"), Task(name="a"), Task(name="p/x", scope=1)), [(0, 0)]),
        ((Task(name="p", plan="p"), Task(name="p/q", plan="q", scope=1)), [(0, 0), (1, 0)]),
    ],
)
def test_a_plan_put_together_wrongly_is_refused(
    tasks: tuple[Task, ...], subplans: list[tuple[int, int]]
) -> None:
    given = Plan(
        name="plan",
        tasks=tasks,
        subplans=tuple(Subplan(name=tasks[i].name, task=i, parent=parent) for i, parent in subplans),
    )
    with pytest.raises(PlanInvalid, match="does not stand"):
        Graph(given)


def test_a_need_of_something_in_another_plan_is_refused() -> None:
    given = plan(a="", sub=subplan({"x": ""}))
    inner = given.tasks[2]
    tasks = (*given.tasks[:2], Task(name=inner.name, run="true", scope=1, needs=plan(b="a").tasks[0].needs))
    with pytest.raises(PlanInvalid, match="which is in another plan"):
        Graph(Plan(name="plan", tasks=tasks, subplans=given.subplans))
