"""Wishes and what comes of them, state by state, without a screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.core.inputs import (
    CancelPlan,
    CancelTask,
    DrainPlan,
    HoldTask,
    PausePlan,
    ReleaseTask,
    ResumePlan,
    RetryTask,
    SetMaxParallel,
)
from engine.core.state import Outcome, RunPhase
from engine.plan.graph import Graph
from engine.plan.model import FailureMode, Plan, Task
from engine.view.run_view import RunView
from tests.support.events import EventFactory
from tests.support.run import plan_of
from tests.support.world import World, subplan
from tests.support.world import plan as nested
from tui import commands
from tui.keymap import BY_ID

DONE, RUNNING, FAILED, RETRYING, HELD, STOPPING, PENDING, CANCELLED = range(8)


@pytest.fixture
def make() -> EventFactory:
    """Eight tasks, each in a state of its own; the last two need the running one."""
    names = ("done", "running", "failed", "retrying", "held", "stopping")
    graph = Graph(plan_of(dict.fromkeys(names, "") | {"pending": "running", "cancelled": "running"}))
    make = EventFactory(graph)
    make.plan_started()
    for name in ("done", "running", "failed", "retrying", "stopping"):
        make.started(name)
    make.completed("done")
    make.failed("failed")
    make.retry_scheduled("retrying")
    make.held("held")
    make.stopping("stopping")
    make.cancelled("cancelled")
    return make


def view_of(make: EventFactory) -> RunView:
    view = RunView(make.graph, make.run_id)
    view.apply(make.events)
    return view


@pytest.mark.parametrize("index", [FAILED, RETRYING, CANCELLED])
def test_what_is_lost_already_is_retried_without_a_question(index: int, make: EventFactory) -> None:
    assert commands.retry(view_of(make), [index]) == commands.Wish((RetryTask(index=index),))


def test_running_a_success_again_is_asked_about(make: EventFactory) -> None:
    wish = commands.retry(view_of(make), [DONE, FAILED])
    assert wish.commands == (RetryTask(index=DONE), RetryTask(index=FAILED))
    assert wish.question is not None
    assert wish.question.title == "Run 2 tasks again?"
    assert wish.question.words == ("Resets done and failed; keeps 4.",)


def test_of_several_only_those_it_makes_sense_for(make: EventFactory) -> None:
    wish = commands.cancel(view_of(make), range(8))
    assert [command.index for command in wish.commands if isinstance(command, CancelTask)] == [
        RUNNING, RETRYING, HELD, STOPPING, PENDING,
    ]  # fmt: skip
    assert wish.question is not None
    assert wish.question.words == (
        "Stops running and stopping now; cancels 3: retrying, held, pending; keeps 3.",
    )


def test_where_it_makes_sense_for_none_it_says_why(make: EventFactory) -> None:
    wish = commands.kill(view_of(make), [DONE, FAILED])
    assert wish.refusal == "2 tasks: only what runs can be killed."
    assert commands.kill(view_of(make), []).refusal == "No task is selected."


def test_a_matrix_is_called_by_its_name() -> None:
    members = [Task(name=f"unit[{x}]", group="unit", run="true") for x in "abc"]
    make = EventFactory(Graph(Plan(name="p", tasks=(*members, Task(name="other", run="true")))))
    make.plan_started()
    make.started("unit[a]")
    make.completed("unit[a]")
    view = view_of(make)
    assert commands.names(view, [0, 1, 2]) == "all 3 of unit"
    assert commands.names(view, [0, 1]) == "2 of unit"
    assert commands.names(view, [0, 3]) == "2 tasks"
    assert commands.kill(view, [0, 1, 2]).refusal == "All 3 of unit: only what runs can be killed."
    wish = commands.cancel(view, [0, 1, 2])
    assert wish.commands == (CancelTask(index=1), CancelTask(index=2))
    assert wish.question is not None
    assert wish.question.title == "Cancel 2 of unit?"
    assert wish.question.words == ("Cancels unit[b] and unit[c]; keeps 1.",)


def test_holding_holds_the_free_ones_and_releases_only_when_all_are_held(make: EventFactory) -> None:
    view = view_of(make)
    assert commands.hold(view, [HELD, PENDING]).commands == (HoldTask(index=PENDING),)
    assert commands.hold(view, [HELD]).commands == (ReleaseTask(index=HELD),)


def test_what_can_be_settled_depends_on_the_state(make: EventFactory) -> None:
    view = view_of(make)
    assert list(commands.settlements(view, [PENDING])) == ["skip", "mark"]
    assert list(commands.settlements(view, [FAILED])) == ["mark"]
    assert commands.settlements(view, [DONE]) == {}
    refusal = commands.mark_succeeded(view, [RUNNING], "why").refusal
    assert refusal == "running is running: what runs must be cancelled first."


@pytest.mark.parametrize(
    ("tell", "wish"),
    [
        (lambda make: None, PausePlan()),
        (lambda make: make.paused(), ResumePlan()),
        (lambda make: make.paused(RunPhase.DRAINING), ResumePlan()),
    ],
)
def test_pause_goes_both_ways(
    tell: Callable[[EventFactory], object], wish: PausePlan | ResumePlan, make: EventFactory
) -> None:
    tell(make)
    assert commands.pause(view_of(make)).commands == (wish,)


def test_there_is_nothing_to_pause_or_cancel_after_the_end(make: EventFactory) -> None:
    make.plan_completed(Outcome.CANCELLED)
    view = view_of(make)
    assert "nothing to pause" in commands.pause(view).refusal
    assert "nothing to cancel" in commands.cancel_plan(view).refusal


def test_cancelling_once_more_kills(make: EventFactory) -> None:
    first = commands.cancel_plan(view_of(make))
    assert first.commands == (CancelPlan(),)
    make.paused(RunPhase.CANCELLING)
    second = commands.cancel_plan(view_of(make))
    assert second.commands == (CancelPlan(kill=True),)
    assert second.question is not None
    assert second.question.words == ("2 tasks are still stopping.",)


def test_slots_stay_in_their_range() -> None:
    assert commands.slots(1).commands == (SetMaxParallel(slots=1),)
    assert commands.slots(32).commands == (SetMaxParallel(slots=32),)
    for beyond in (0, 33):
        assert commands.slots(beyond).refusal == "Slots must be 1 to 32."


def test_the_mode_in_force_is_no_command(make: EventFactory) -> None:
    assert commands.failure_mode(view_of(make), FailureMode.FAIL_FAST) == commands.Wish()


def test_nothing_failed_nothing_to_retry(make: EventFactory) -> None:
    make.reset("failed")
    assert commands.retry_failed(view_of(make)).refusal == "No task has failed."


def test_what_is_possible_is_said_of_entries_of_the_keymap(make: EventFactory) -> None:
    assert set(commands._POSSIBLE) <= set(BY_ID)
    view = view_of(make)
    assert commands.is_possible(view, "task.kill", [RUNNING])
    assert not commands.is_possible(view, "task.kill", [PENDING])
    assert commands.is_possible(view, "help", [])


def test_what_several_commands_do_is_told_together(make: EventFactory) -> None:
    assert commands.foretell(view_of(make), DrainPlan()).startswith("Cancels ")
    assert commands.foretell(view_of(make), *(CancelTask(index=n) for n in range(4))).startswith("Stops ")


def test_a_subplan_that_goes_on_can_be_held_and_released() -> None:
    world = World(nested(sub=subplan({"a": "", "b": "a"})))
    world.start()
    world.admit("sub/a")

    def view() -> RunView:
        return RunView.from_snapshot(world.graph, world.scheduler.snapshot())

    assert commands.is_possible(view(), "task.hold", [0])
    assert commands.hold(view(), [0]).commands == (HoldTask(index=0),)
    assert not commands.is_possible(view(), "task.hold", [1])  # it runs, and is no subplan
    world.order(HoldTask, "sub")
    assert commands.hold(view(), [0]).commands == (ReleaseTask(index=0),)
