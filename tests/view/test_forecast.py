"""How long a run still takes: what is foretold, held against what comes."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from engine.core.effects import StartAttempt, StopAttempt
from engine.core.inputs import (
    AttemptFinished,
    AttemptOutcome,
    AttemptStarted,
    Input,
    Now,
    OutcomeKind,
    Start,
    Tick,
)
from engine.core.scheduler import Decision, Scheduler
from engine.core.state import RunPhase
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode, Need, Plan, Retry, Task
from engine.view.forecast import Forecast, estimate
from engine.view.run_view import RunView
from engine.view.timing import Estimate
from tests.support.events import EventFactory
from tests.support.random_run import RandomRun, random_tree

DONE = AttemptOutcome(OutcomeKind.SUCCESS)
FAILED = AttemptOutcome(OutcomeKind.FAILED, "exit 1", 1)
STOPPED = AttemptOutcome(OutcomeKind.STOPPED)


class PlayedRun:
    """A run in virtual time by the real scheduler, each task taking the time it is given.

    view: as it stands at `offset`. is_over: nothing runs any more. fails: what fails whenever it starts at
    the very beginning, at once.
    """

    def __init__(
        self, plan: Plan, takes: list[float], usual: list[float | None] | None, fails: Sequence[int] = ()
    ) -> None:
        self.takes = takes
        self.offset = 0.0
        graph = Graph(plan)
        self._fails = fails
        self._scheduler = Scheduler(graph, "run", random=Random(0), durations=usual)
        self.view = RunView.from_snapshot(graph, self._scheduler.snapshot())
        self._going: list[tuple[float, int, int]] = []
        self._give(Start())

    @property
    def is_over(self) -> bool:
        return not self._going and self._scheduler.next_deadline() is None

    def step(self) -> None:
        """Until the next end of a task, or of a back-off."""
        deadline = self._scheduler.next_deadline()
        if deadline is not None and (not self._going or deadline < self._going[0][0]):
            self.offset = deadline
            self._give(Tick())
        else:
            self.offset, index, attempt = heapq.heappop(self._going)
            self._give(AttemptFinished(index=index, attempt=attempt, outcome=DONE))

    def _give(self, given: Input) -> None:
        """Hand an input to the scheduler, and after it, in their order, all that follows at once."""
        following = deque([given])
        while following:
            decision: Decision = self._scheduler.handle(following.popleft(), Now(self.offset, self.offset))
            self.view.apply(decision.events)
            for effect in decision.effects:
                index, attempt = effect.index, effect.attempt
                if isinstance(effect, StartAttempt):
                    heapq.heappush(self._going, (self.offset + self.takes[index], index, attempt))
                    following.append(AttemptStarted(index=index, attempt=attempt))
                    if index in self._fails and not self.offset:
                        following.append(self._cut_short(index, attempt, FAILED))
                elif isinstance(effect, StopAttempt):
                    following.append(self._cut_short(index, attempt, STOPPED))

    def _cut_short(self, index: int, attempt: int, outcome: AttemptOutcome) -> AttemptFinished:
        self._going = [each for each in self._going if each[1:] != (index, attempt)]
        heapq.heapify(self._going)
        return AttemptFinished(index=index, attempt=attempt, outcome=outcome)


def random_plan(random: Random, size: int) -> Plan:
    tasks = [
        Task(
            name=f"t{n}",
            run="true",
            needs=tuple(Need(f"t{k}") for k in random.sample(range(n), min(n, random.choice((0, 1, 1, 2))))),
        )
        for n in range(size)
    ]
    return Plan(name="random", tasks=tuple(tasks), max_parallel=random.choice((1, 2, 4, 8)))


def played(seed: int, *, is_known: bool, noise: float, size: int = 40) -> list[tuple[float, Estimate]]:
    """What was foretold after each end, with the seconds that it then took."""
    random = Random(seed)
    plan = random_plan(random, size)
    usual = [random.lognormvariate(3.0, 1.0 if is_known else 0.5) for _ in plan.tasks]
    takes = [seconds * random.lognormvariate(0.0, noise) for seconds in usual]
    run = PlayedRun(plan, takes, list(usual) if is_known else None)
    told = []
    while not run.is_over:
        told.append((run.offset, estimate(run.view, run.offset)))
        run.step()
    return [(run.offset - moment, left) for moment, left in told if left is not None]


@example(893, True)
@example(4220, True)
@example(4920, True)
@example(5834, True)
@given(st.integers(0, 2**32), st.booleans())
def test_a_plan_of_plans_takes_what_is_foretold(seed: int, fails: bool) -> None:
    """To the end of all that waits and all that is tried again; a failure stands at the very beginning."""
    random = Random(seed)
    plan = random_tree(random)
    modes = [FailureMode.FAIL_FAST, FailureMode.CONTINUE_ON_ERROR]
    tasks = [
        structs.replace(task, timeout=None, retry=Retry(limit=task.retry.limit, jitter=0.0))
        for task in plan.tasks
    ]
    subplans = [structs.replace(subplan, failure_mode=random.choice(modes)) for subplan in plan.subplans]
    plan = structs.replace(
        plan, tasks=tuple(tasks), subplans=tuple(subplans), failure_mode=random.choice(modes)
    )
    takes = [random.lognormvariate(3.0, 1.0) for _ in plan.tasks]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.view.pace.USUAL_SPREAD", 0.0)  # each takes what it usually takes
        run = PlayedRun(plan, takes, [*takes], random.choices(range(len(takes)), k=3) if fails else ())
        told = []
        while run.view.phase is not RunPhase.COMPLETE:
            told.append((run.offset, estimate(run.view, run.offset)))
            run.step()
    for moment, left in told:
        assert left is not None
        assert moment + left.likely == pytest.approx(run.offset)


@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize("is_known", [True, False])
def test_the_range_holds_what_comes_as_often_as_it_promises(is_known: bool, noise: float) -> None:
    told = [pair for seed in range(40) for pair in played(seed, is_known=is_known, noise=noise)]
    inside = sum(left.low <= took <= left.high for took, left in told)
    assert inside / len(told) >= 0.8


def test_what_past_runs_tell_makes_it_better() -> None:
    def wrong(is_known: bool) -> float:
        told = [pair for seed in range(20) for pair in played(seed, is_known=is_known, noise=0.1)]
        return sum(abs(left.likely - took) for took, left in told) / sum(took for took, _ in told)

    assert wrong(True) < 0.08
    assert wrong(True) < wrong(False) / 2


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_where_all_takes_what_it_usually_takes_it_is_near(seed: int, size: int) -> None:
    told = played(seed, is_known=True, noise=0.0, size=size)
    for took, left in told:
        assert took <= left.high
        assert abs(left.likely - took) <= max(0.25 * took, 0.3 * told[0][0])


@given(st.integers(0, 2**32), st.integers(0, 120))
def test_whatever_happens_it_is_a_range_and_never_negative(seed: int, steps: int) -> None:
    run = RandomRun(seed)
    view = RunView.from_snapshot(run.graph, run.scheduler.snapshot())
    forecast = Forecast(view)
    for _ in range(steps):
        view.apply(run.step().events)
        forecast.advance(run.offset, steps=2)
        left = forecast.left(run.offset)
        if left is not None:
            assert 0 <= left.low <= left.likely <= left.high
        assert forecast.path <= set(range(len(view.tasks)))
    forecast.advance(run.offset + 100.0, steps=100)
    if view.phase is RunPhase.COMPLETE:
        assert forecast.left(run.offset) is None
    elif view.phase is RunPhase.RUNNING and view.finished == len(view.tasks):
        assert forecast.left(run.offset) == Estimate(0.0, 0.0, 0.0)


def chain(*names: str, **conditions: Condition) -> EventFactory:
    tasks = []
    for number, name in enumerate(names):
        condition = conditions.get(name, Condition.SUCCESS)
        needs = (Need(names[number - 1], condition),) if number else ()
        tasks.append(Task(name=name, run="true", needs=needs))
    return EventFactory(Graph(Plan(name="chain", tasks=tuple(tasks))), step=0.0)


def begun(events: EventFactory, usual: list[float | None] | None = None) -> RunView:
    events.offset = 0.0
    events.plan_started()
    view = RunView(events.graph, "run", usual or [10.0] * len(events.graph.needs))
    view.apply(events.events)
    return view


def test_what_only_a_failure_would_start_is_not_waited_for() -> None:
    events = chain("deploy", "tell", "sweep", tell=Condition.FAILED, sweep=Condition.FINISHED)
    left = estimate(begun(events), 0.0)
    assert left is not None
    assert left.likely == pytest.approx(20.0)  # deploy, then sweep, which the skipped `tell` lets start


def test_what_is_held_is_not_waited_for() -> None:
    events = chain("a", "b")
    view = begun(events)
    view.apply([events.held("b")])
    left = estimate(view, 0.0)
    assert left is not None
    assert left.likely == pytest.approx(10.0)


def test_a_back_off_is_waited_for() -> None:
    events = chain("a")
    view = begun(events)
    view.apply([events.started("a"), events.retry_scheduled("a", 30.0)])
    left = estimate(view, 0.0)
    assert left is not None
    assert left.likely == pytest.approx(40.0)


def test_a_new_task_takes_what_the_usual_one_takes() -> None:
    left = estimate(begun(chain("a", "b", "c"), [10.0, None, 30.0]), 0.0)
    assert left is not None
    assert left.likely == pytest.approx(60.0)


def test_members_of_a_matrix_take_what_the_others_take() -> None:
    tasks = tuple(Task(name=f"m{n}", run="true", group="m" if n else None) for n in range(3))
    events = EventFactory(Graph(Plan(name="matrix", tasks=tasks, max_parallel=1)), step=0.0)
    view = begun(events)
    view.pace = type(view.pace)(events.graph.plan)  # nothing of past runs
    for name, seconds in (("m0", 100.0), ("m1", 4.0)):
        events.started(name)
        events.wait(seconds)
        events.completed(name)
    view.apply(events.events)
    left = estimate(view, events.offset)
    assert left is not None
    assert left.likely == pytest.approx(4.0)


def test_a_run_that_is_slower_than_others_is_expected_to_stay_so() -> None:
    events = chain("a", "b", "c")
    view = begun(events)
    events.started("a")
    events.wait(20.0)
    view.apply([events.events[-1], events.completed("a")])
    left = estimate(view, events.offset)
    assert left is not None
    assert left.likely == pytest.approx(2 * 10.0 * (20.0 + 30.0) / (10.0 + 30.0))


def test_the_critical_path_is_what_the_end_waits_for() -> None:
    tasks = (
        Task(name="a", run="true"),
        Task(name="short", run="true", needs=(Need("a"),)),
        Task(name="long", run="true", needs=(Need("a"),)),
        Task(name="z", run="true", needs=(Need("short"), Need("long"))),
    )
    events = EventFactory(Graph(Plan(name="diamond", tasks=tasks)), step=0.0)
    view = begun(events, [5.0, 2.0, 9.0, 1.0])
    forecast = Forecast(view)
    forecast.advance(0.0)
    assert forecast.path == {0, 2, 3}
    # it turns out otherwise
    for name, seconds in (("a", 5.0), ("long", 1.0)):
        events.started(name)
        events.wait(seconds)
        events.completed(name)
    events.started("short")
    view.apply(events.events)
    forecast.advance(events.offset)
    assert forecast.path == {0, 1, 3}


def test_it_is_played_a_little_at_a_time_and_not_again_at_once() -> None:
    tasks = tuple(Task(name=f"t{n}", run="true") for n in range(30))
    events = EventFactory(Graph(Plan(name="wide", tasks=tasks)), step=0.0)
    view = begun(events)
    forecast = Forecast(view)
    forecast.advance(0.0, steps=20)
    assert forecast.left(0.0) is None
    forecast.advance(0.1, steps=20)
    first = forecast.left(0.1)
    assert first is not None
    events.started("t0")
    events.wait(0.2)
    view.apply([events.events[-1], events.completed("t0")])
    forecast.advance(0.3, steps=50)
    later = forecast.left(0.3)
    assert later is not None
    assert later.likely == pytest.approx(first.likely - 0.2)  # the same end, nearer by what has passed


def test_a_new_play_moves_the_end_a_part_of_the_way() -> None:
    events = chain("a", "b")
    view = begun(events)
    forecast = Forecast(view)
    forecast.advance(0.0)
    view.apply([events.started("a")])
    forecast.advance(10.0)  # a has taken its time, and goes on
    left = forecast.left(10.0)
    assert left is not None
    assert left.likely == pytest.approx(10.0 + 0.3 * 2.5)
    view.apply([events.slots_changed(2)])
    forecast.advance(10.1)  # what a person has changed shows at once
    left = forecast.left(10.1)
    assert left is not None
    assert left.likely == pytest.approx(12.5)
