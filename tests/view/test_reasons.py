"""Every task that is not running says why, in words short enough for a column."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.core.inputs import HoldTask, PausePlan, ResumePlan
from engine.core.state import RunPhase
from engine.plan.graph import Graph
from engine.plan.model import Condition, Need, Plan, Retry, Task
from engine.view.run_view import RunView
from tests.support.events import EventFactory
from tests.support.world import World, subplan
from tests.support.world import plan as nested


def task(name: str, **needs: str) -> Task:
    needed = tuple(Need(other, Condition(condition)) for other, condition in needs.items())
    return Task(name=name, run="true", needs=needed, retry=Retry(limit=2))


GRAPH = Graph(
    Plan(
        name="release",
        max_parallel=2,
        tasks=(
            task("unit"),
            task("lint"),
            task("docs"),
            task("types"),
            task("publish", unit="success", lint="success", docs="success", types="finished"),
            task("tell", publish="failed"),
            task("sweep", unit="finished", publish="skipped"),
        ),
    )
)


@pytest.fixture
def events() -> EventFactory:
    factory = EventFactory(GRAPH)
    factory.plan_started()
    return factory


def why(events: EventFactory, task: str, *, after: float = 0.0, last_line: str = "") -> str:
    """What is said of a task that many seconds after the last event."""
    view = RunView(GRAPH, "run")
    view.apply(events.events)
    return view.why(GRAPH.index_of[task], events.offset + after, last_line)


def ended(events: EventFactory, *tasks: str) -> None:
    for name in tasks:
        events.started(name)
        events.completed(name)


def run_two(events: EventFactory) -> None:
    events.started("lint")
    events.started("docs")


Happened = Callable[[EventFactory], object]


@pytest.mark.parametrize(
    ("happened", "task", "words"),
    [
        (lambda e: None, "publish", "waits for unit, lint and 2 more"),
        (lambda e: ended(e, "lint"), "publish", "waits for unit, docs and 1 more"),
        (lambda e: ended(e, "lint", "unit"), "publish", "waits for docs, types to finish"),
        (lambda e: ended(e, "lint", "unit", "docs"), "publish", "waits for types to finish"),
        (lambda e: None, "tell", "waits for publish to fail"),
        (lambda e: None, "sweep", "waits for unit to finish, publish to be skipped"),
        (lambda e: (e.started("unit"), e.failed("unit")), "publish", "can't be met: unit is failed"),
        (lambda e: ended(e, "publish"), "tell", "can't be met: publish is success, not failed"),
        (lambda e: e.held("publish"), "publish", "held by test, waits for unit, lint and 2 more"),
        (lambda e: e.held("unit"), "unit", "held by test"),
        (lambda e: None, "unit", "starting"),
        (run_two, "unit", "no free slot (2/2 busy)"),
        (lambda e: (run_two(e), e.slots_changed(1)), "unit", "no free slot (2/1 busy)"),
        (lambda e: (run_two(e), e.stopping("lint")), "unit", "no free slot (2/2 busy)"),
        (lambda e: (run_two(e), e.slots_changed(3)), "unit", "starting"),
        (lambda e: e.deferred("unit", 0.4), "unit", "executor local: all busy, asked again in 0.4s"),
        (lambda e: e.deferred("unit", 0.4), "lint", "executor local: all busy, asked again in 0.4s"),
        (lambda e: (e.deferred("unit", 5.0), e.started("lint")), "docs", "starting"),
        (lambda e: e.paused(), "unit", "plan is paused by test"),
        (lambda e: e.paused(), "publish", "waits for unit, lint and 2 more"),
        (lambda e: e.paused(RunPhase.DRAINING), "unit", "plan is draining: will not start"),
        (lambda e: e.paused(RunPhase.DRAINING), "publish", "plan is draining: will not start"),
        (lambda e: e.paused(RunPhase.CANCELLING), "unit", "plan is being cancelled"),
        (lambda e: e.started("unit"), "unit", ""),
        (lambda e: (e.started("unit"), e.stalled("unit", 31.0)), "unit", "silent 31s"),
        (lambda e: (e.started("unit"), e.retry_scheduled("unit", 12.0)), "unit", "retry in 12s (2/3)"),
        (lambda e: (e.started("unit"), e.stopping("unit")), "unit", "stopping: cancelled by operator"),
        (lambda e: (e.started("unit"), e.stopping("unit", "")), "unit", "stopping"),
        (lambda e: ended(e, "unit"), "unit", ""),
        (lambda e: e.completed("unit", reason="done by hand"), "unit", "marked as done: done by hand"),
        (lambda e: (e.started("unit"), e.failed("unit", "exit 2", 2)), "unit", "exit 2"),
        (lambda e: (e.started("unit"), e.failed("unit", "", None)), "unit", "failed"),
        (lambda e: e.skipped("publish", "lint failed", blocked_by="lint"), "publish", "skipped: lint failed"),
        (lambda e: e.skipped("publish", "skipped by anna"), "publish", "skipped by anna"),
        (lambda e: (e.started("unit"), e.tolerated("unit", "exit 1")), "unit", "tolerated: exit 1"),
        (
            lambda e: e.cancelled("unit", "fail-fast: lint failed"),
            "unit",
            "cancelled: fail-fast: lint failed",
        ),
        (lambda e: e.cancelled("unit", "cancelled by anna"), "unit", "cancelled by anna"),
        (lambda e: e.cancelled("unit", ""), "unit", "cancelled"),
    ],
)
def test_what_happened_is_said(events: EventFactory, happened: Happened, task: str, words: str) -> None:
    happened(events)
    assert why(events, task) == words


def test_before_the_run_begins_nothing_starts() -> None:
    assert RunView(GRAPH, "run").why(0, 0.0) == "the run has not begun"


def test_waits_are_counted_down(events: EventFactory) -> None:
    events.started("unit")
    events.retry_scheduled("unit", 12.0)
    assert why(events, "unit", after=11.5) == "retry in 0.5s (2/3)"
    assert why(events, "unit", after=12.0) == "starting"
    events.deferred("lint", 4.0)
    assert why(events, "lint", after=1.0) == "executor local: all busy, asked again in 3s"
    assert why(events, "lint", after=4.0) == "starting"


def test_silence_is_counted_up(events: EventFactory) -> None:
    events.started("unit")
    events.stalled("unit", 30.0)
    assert why(events, "unit", after=60.0) == "silent 1m30s"


def test_after_a_back_off_a_task_waits_for_what_any_task_waits_for(events: EventFactory) -> None:
    ended(events, "unit", "lint", "docs", "types")
    events.started("publish")
    events.retry_scheduled("publish", 1.0)
    events.held("publish")
    assert why(events, "publish") == "held by test"
    events.released("publish")
    events.reset("lint")
    assert why(events, "publish", after=5.0) == "waits for lint"


def test_a_retry_beyond_those_of_the_plan_is_counted_on_top(events: EventFactory) -> None:
    for _ in range(3):
        events.started("unit")
        events.failed("unit")
        events.reset("unit")
    events.started("unit")
    events.retry_scheduled("unit", 2.0)
    assert why(events, "unit") == "retry in 2s (5/5)"


@pytest.mark.parametrize(
    ("error", "last_line", "words"),
    [
        ("exit 2", "E501 line too long", "exit 2: E501 line too long"),
        ("exit 2: E501", "E501", "exit 2: E501"),
        ("exit 2", "", "exit 2"),
    ],
)
def test_the_last_line_stands_after_the_failure(
    events: EventFactory, error: str, last_line: str, words: str
) -> None:
    events.started("unit")
    events.failed("unit", error)
    assert why(events, "unit", last_line=last_line) == words


def test_the_last_line_stands_for_a_failure_without_words(events: EventFactory) -> None:
    events.started("unit")
    events.tolerated("unit", "")
    assert why(events, "unit", last_line="killed") == "tolerated: killed"


def test_what_came_from_outside_is_made_harmless(events: EventFactory) -> None:
    events.started("unit")
    events.failed("unit", "exit 1\x1b]0;gotcha\x07\nand\u202emore\x9b2J")
    assert why(events, "unit") == "exit 1 andmore"


def test_what_is_inside_of_a_subplan_says_what_it_waits_for() -> None:
    given = nested(
        a="", sub=subplan({"x": "", "y": "", "z": "x", "deep": subplan({"d": ""}, "y")}, "a", slots=1)
    )
    world = World(given, max_parallel=2)

    def why(name: str) -> str:
        return RunView.from_snapshot(world.graph, world.scheduler.snapshot()).why(world.index(name), 0.0)

    world.start()
    world.admit("a")
    assert why("sub/x") == "waits for sub to start"
    assert why("sub/z") == "waits for x"
    assert why("sub/deep/d") == "waits for sub/deep to start"
    world.succeed("a")
    world.admit("sub/x")
    assert why("sub") == "0/4 done, 1/1 slots"
    assert why("sub/y") == "no free slot in sub (1/1 busy)"
    world.send(PausePlan(scope=1))
    assert (why("sub"), why("sub/y")) == ("paused, 0/4 done, 1/1 slots", "sub is paused")
    world.send(ResumePlan(scope=1))
    world.order(HoldTask, "sub")
    assert (why("sub"), why("sub/y")) == ("held, 0/4 done, 1/1 slots", "sub is held by operator")
