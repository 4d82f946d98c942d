"""The monitor: what it says of a run is what a plain recount of the events says, whenever it joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import anyio
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import (
    Event,
    PlanCompleted,
    PlanEvent,
    StallCleared,
    TaskCancelled,
    TaskCompleted,
    TaskEvent,
    TaskFailed,
    TaskReset,
    TaskSkipped,
    TaskStalled,
    TaskStopping,
)
from engine.core.state import TERMINAL, RunPhase, TaskState
from engine.ground.identity import task_id
from engine.monitor.monitor import Following, Monitor, MonitorFull, MonitorView
from engine.plan.model import Plan
from engine.view.run_view import RunView
from tests.support.events import EPOCH
from tests.support.random_run import RandomRun
from tests.support.run import FakeRun, plan_of
from tests.support.world import plan, subplan

DIAMOND = plan_of({"A": "", "B": "A", "C": "A", "D": "B C"})
STILL = lambda: 0.0  # noqa: E731 -- a clock

GOING = (TaskState.RUNNING, TaskState.RETRYING, TaskState.STOPPING)
END_A_STALL = (StallCleared, TaskCompleted, TaskFailed, TaskSkipped, TaskCancelled, TaskReset, TaskStopping)


class Witness:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.joins: list[int] = []
        self.events: list[Event] = []
        self.healths: list[float] = []
        self.stalls: list[str] = []
        self.settlings = 0
        self.leaves = 0

    def joined(self, view: RunView, missed: int) -> None:
        self.joins.append(missed)

    def happened(self, view: RunView, event: Event, latency: float) -> None:
        assert latency >= 0
        self.events.append(event)
        self.healths.append(round(view.health, 2))

    def stalled(self, view: RunView, index: int) -> None:
        self.stalls.append(view.tasks[index].name)

    def settled(self, view: RunView) -> None:
        self.settlings += 1

    def left(self, view: RunView) -> None:
        self.leaves += 1


def watch(run: FakeRun, **settings: int) -> tuple[Monitor, Following, Witness]:
    monitor, witness = Monitor(clock=STILL, **settings), Witness()
    monitor.observe(witness)
    return monitor, monitor.follow(run), witness


def view_of(monitor: Monitor, run: FakeRun) -> MonitorView:
    view = monitor.view(run.run_id)
    assert view is not None
    return view


def changed(healths: Sequence[float]) -> list[float]:
    return [healths[0], *(after for before, after in pairwise(healths) if before != after)]


def test_the_health_of_a_diamond_in_which_all_goes_well() -> None:
    run = FakeRun(DIAMOND)
    _, following, witness = watch(run)
    make = run.make
    run.start()
    for step in ("A", "-A", "B", "C", "-B", "-C", "D", "-D"):
        run.push(make.completed(step[1:]) if step[0] == "-" else make.started(step))
    run.push(make.plan_completed())
    following.catch_up()
    assert changed(witness.healths) == [0, 1, 0.5, 0.33, 0.67, 1, 0.75, 1]
    assert witness.settlings == 2  # when it joined, and after all of this


def test_the_health_of_a_diamond_with_a_failure() -> None:
    run = FakeRun(DIAMOND)
    monitor, following, _ = watch(run)
    make = run.make
    run.start("A")
    run.push(make.completed("A"), make.started("B"), make.started("C"), make.failed("B"), make.completed("C"))
    run.push(make.skipped("D", "B failed"), make.plan_completed())
    following.catch_up()
    view = view_of(monitor, run)
    assert (view.health_score, view.progress, view.is_complete) == (0.5, 1.0, True)


def test_what_stands_for_a_subplan_is_no_task_of_its_own() -> None:
    run = FakeRun(plan(roll=subplan({"one": "", "two": "one"}), tell="roll"))
    monitor, following, _ = watch(run)
    make = run.make
    run.start("roll", "roll/one")
    run.push(make.completed("roll/one"), make.started("roll/two"))
    following.catch_up()
    view = view_of(monitor, run)
    assert [task.name for task in view.tasks] == ["roll/one", "roll/two", "tell"]
    assert (view.health_score, view.progress) == (0.5, pytest.approx(1 / 3))


def test_a_view_says_what_there_is_to_say() -> None:
    run = FakeRun(DIAMOND)
    monitor, following, _ = watch(run)
    run.push(run.make.plan_started(), run.make.started("A"))
    run.make.wait(30)
    run.push(run.make.stalled("A"))
    following.catch_up()
    view = view_of(monitor, run)
    assert view.plan_id == run.run_id
    assert [(task.name, task.state, task.attempt) for task in view.tasks] == [
        ("A", TaskState.RUNNING, 1),
        ("B", TaskState.PENDING, 0),
        ("C", TaskState.PENDING, 0),
        ("D", TaskState.PENDING, 0),
    ]
    assert view.stalled_ids == (view.tasks[0].id,) == (task_id(run.run_id, "run", 0),)
    assert (view.health_score, view.progress, view.is_complete) == (0.0, 0.0, False)
    assert view.created_at_ms == EPOCH * 1000
    assert view.updated_at_ms == (EPOCH + 32) * 1000
    assert monitor.views() == [view]
    assert monitor.view("another") is None


def test_a_stall_counts_once_however_often_one_looks() -> None:
    run = FakeRun(DIAMOND)
    monitor, following, witness = watch(run)
    run.start("A")
    run.push(run.make.stalled("A"))
    for _ in range(1_000):
        following.catch_up()
        assert len(view_of(monitor, run).stalled_ids) == 1
    assert (monitor.stalls_detected, witness.stalls) == (1, ["A"])
    run.push(run.make.stall_cleared("A"), run.make.stalled("A"))
    following.catch_up()
    assert (monitor.stalls_detected, witness.stalls) == (2, ["A", "A"])


def test_who_falls_behind_counts_what_it_missed_and_starts_again_from_a_snapshot() -> None:
    run = FakeRun(DIAMOND)
    quick, following, _ = watch(run)
    slow, lagging, witness = watch(run, backlog=3)
    make = run.make
    run.start("A")
    run.push(make.completed("A"), make.started("B"), make.started("C"))
    run.push(make.stalled("B"))
    following.catch_up()
    lagging.catch_up()
    assert (quick.dropped, slow.dropped) == (0, 5)
    assert witness.joins == [0, 5]
    assert witness.events == []
    assert witness.stalls == ["B"]
    assert view_of(slow, run).tasks == view_of(quick, run).tasks
    run.push(make.completed("B"))
    lagging.catch_up()
    assert [event.seq for event in witness.events] == [7]
    assert slow.dropped == 5


def test_a_stall_that_was_told_before_is_not_told_again_after_falling_behind() -> None:
    run = FakeRun(DIAMOND)
    monitor, following, witness = watch(run, backlog=3)
    make = run.make
    run.start("A")
    run.push(make.stalled("A"))
    following.catch_up()
    run.push(make.held("B"), make.released("B"), make.held("C"), make.released("C"))
    following.catch_up()
    assert (monitor.dropped, witness.stalls) == (4, ["A"])
    # in the gap it ended, and the next attempt has stalled as well
    run.push(make.retry_scheduled("A"), make.started("A"), make.stalled("A"), make.held("B"))
    following.catch_up()
    assert (monitor.dropped, witness.stalls) == (8, ["A", "A"])


def test_only_so_many_are_held_and_the_first_to_finish_makes_room() -> None:
    time = 0.0
    monitor = Monitor(most=2, clock=lambda: time)
    runs = [named("first"), named("second"), named("third"), named("fourth")]
    followings = [monitor.follow(run) for run in runs[:2]]
    with pytest.raises(MonitorFull, match="2 runs are followed already"):
        monitor.follow(runs[2])
    for run, following in reversed(list(zip(runs[:2], followings, strict=True))):
        time += 1
        run.start()
        run.finish()
        following.catch_up()
    monitor.follow(runs[2])
    assert [view.plan_id for view in monitor.views()] == ["first", "third"]
    assert monitor.tracked == 2
    # a retry opens what was let go: while there is room for it, it is held again
    monitor.follow(runs[3])
    run, following = runs[1], followings[1]
    run.push(run.make.reset("A"), run.make.resumed())
    following.catch_up()
    assert [view.plan_id for view in monitor.views()] == ["third", "fourth"]


def named(run_id: str) -> FakeRun:
    run = FakeRun(DIAMOND)
    run.run_id = run_id
    return run


def test_what_finished_is_forgotten_after_a_while_and_known_again_when_it_goes_on() -> None:
    time = 0.0
    run = FakeRun(DIAMOND)
    monitor = Monitor(keep=300, clock=lambda: time)
    following = monitor.follow(run)
    run.start()
    run.finish()
    following.catch_up()
    time = 299.0
    assert view_of(monitor, run).is_complete
    time = 300.0
    assert monitor.view(run.run_id) is None
    assert monitor.stalls(run.run_id) == []
    run.push(run.make.reset("A"), run.make.resumed())
    following.catch_up()
    time = 1000.0
    assert not view_of(monitor, run).is_complete


@pytest.mark.anyio
@pytest.mark.parametrize(
    "anyio_backend", [("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})], ids=["virtual time"]
)
async def test_it_is_forgotten_in_time_though_nobody_looks_and_nothing_happens() -> None:
    run, witness = FakeRun(DIAMOND), Witness()
    monitor = Monitor(keep=300)
    monitor.observe(witness)
    async with anyio.create_task_group() as group:
        group.start_soon(monitor.follow(run).last)
        run.start()
        run.finish()
        await anyio.sleep(299)
        assert monitor.tracked == 1
        await anyio.sleep(2)
        assert monitor.tracked == 0
        run.push(run.make.reset("A"), run.make.resumed())
        await anyio.wait_all_tasks_blocked()
        assert monitor.tracked == 1
        run.end_stream()
    # cut off, it will never be complete: so it is held as what has ended
    assert witness.leaves == 1
    assert monitor.tracked == 1
    await anyio.sleep(300)
    assert monitor.views() == []


# ── whatever happens ────────────────────────────────────────────────────────────────────────────


class Recount:
    """What the events say, counted in the plainest way. What stands for a subplan is no task of its own."""

    def __init__(self, plan: Plan, events: Sequence[Event]) -> None:
        self._states = [TaskState.PENDING] * len(plan.tasks)
        self._parents = {subplan.task for subplan in plan.subplans}
        self.stalled: set[int] = set()
        self.stalls = 0
        self.is_complete = False
        for event in events:
            if isinstance(event, TaskEvent):
                self._states[event.index] = event.state
                if isinstance(event, TaskStalled):
                    self.stalls += event.index not in self.stalled
                    self.stalled.add(event.index)
                elif isinstance(event, END_A_STALL) or event.state is TaskState.RETRYING:
                    self.stalled.discard(event.index)
            elif isinstance(event, PlanEvent):
                self.is_complete = event.phase is RunPhase.COMPLETE

    @property
    def states(self) -> list[TaskState]:
        return [state for index, state in enumerate(self._states) if index not in self._parents]

    @property
    def counts(self) -> Counter[TaskState]:
        return Counter(map(waiting, self.states))

    @property
    def health(self) -> float:
        good = self.states.count(TaskState.SUCCESS)
        ended = sum(state in TERMINAL for state in self.states)
        return good / max(1, ended + sum(state in GOING for state in self.states))

    @property
    def progress(self) -> float:
        return sum(state in TERMINAL for state in self.states) / len(self.states)


def waiting(state: TaskState) -> TaskState:
    """That a task is ready is no event."""
    return TaskState.PENDING if state is TaskState.READY else state


@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.sampled_from(["join", "look", "look", "run", "run", "run"]), st.integers(0, 9))),
)
def test_in_any_interleaving_every_monitor_says_what_a_recount_says(
    seed: int, script: list[tuple[str, int]]
) -> None:
    """Monitors join when they like and look when they like; those with little room fall behind."""
    source = RandomRun(seed)
    run = FakeRun(source.graph.plan)
    events: list[Event] = []

    def go_on() -> None:
        happened = list(source.step().events)
        if not events:  # the factory of a run begins it, as the source has done by itself
            run.push(run.make.plan_started())
            events.append(run.make.events[0])
        run.push(*happened)
        events.extend(happened)

    watches: list[tuple[Monitor, Following, Witness]] = [watch(run)]
    go_on()
    for act, number in script:
        if act == "join":
            watches.append(watch(run, backlog=number or 100_000))
        elif act == "run":
            for _ in range(number):
                go_on()
        else:
            monitor, following, _ = watches[number % len(watches)]
            following.catch_up()
            check(view_of(monitor, run), Recount(run.plan, events), run)
    for monitor, following, witness in watches:
        following.catch_up()
        check(view_of(monitor, run), Recount(run.plan, events), run)
        assert monitor.dropped == sum(witness.joins)
        seqs = [event.seq for event in witness.events]
        assert seqs == sorted(set(seqs))
    first, _, witness = watches[0]
    assert witness.events == events
    assert first.stalls_detected == len(witness.stalls) == Recount(run.plan, events).stalls
    assert [event for event in events if isinstance(event, PlanCompleted)] == [
        event for event in witness.events if isinstance(event, PlanCompleted)
    ]


def check(view: MonitorView, truth: Recount, run: FakeRun) -> None:
    assert [waiting(task.state) for task in view.tasks] == list(map(waiting, truth.states))
    assert Counter(waiting(task.state) for task in view.tasks) == truth.counts
    assert sum(view.counts.values()) == len(view.tasks)
    assert view.health_score == truth.health
    assert view.progress == truth.progress
    assert view.is_complete == truth.is_complete
    assert set(view.stalled_ids) == {task_id(run.run_id, "run", index) for index in truth.stalled}
