"""What holds for every plan, every course of attempts, and whatever a person does at whatever time.

The worlds check each single decision (see `tests.support.watch`): legal moves, the order of needs, slots, no
double start, every end told once, gapless numbers, and a view folded from the events that agrees with the
snapshot. What is left for here is how whole runs end.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, note
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.events import Event, PlanCompleted, TaskFailed, TaskRetried, TaskStarted
from engine.core.inputs import (
    AttemptFinished,
    AttemptRevived,
    AttemptStalled,
    CancelPlan,
    CancelTask,
    Command,
    DrainPlan,
    HoldTask,
    KillTask,
    MarkSucceeded,
    OutcomeKind,
    PausePlan,
    ReleaseTask,
    Report,
    ResumePlan,
    RetryFailed,
    RetryTask,
    SetFailureMode,
    SetMaxParallel,
    SkipTask,
    TaskCommand,
)
from engine.core.state import TERMINAL, Outcome, RunPhase, TaskState
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode, Need, Plan, Retry, Subplan, Task
from engine.view.snapshot import snapshot_after
from tests.support.live_world import LiveWorld, Play, script
from tests.support.watch import MET_BY

MOST_TASKS = 12

# Times are multiples of a quarter second, so that many things fall together; the time-out is none, so that
# it is never a matter of luck whether an attempt was in time.
TIMEOUT = 1.6


# ── what is drawn ───────────────────────────────────────────────────────────────────────────────


def seconds(most: float) -> st.SearchStrategy[float]:
    return st.integers(0, int(most * 4)).map(lambda quarters: quarters / 4)


conditions = st.sampled_from([Condition.SUCCESS] * 3 + list(Condition))
retries = st.builds(
    Retry,
    limit=st.integers(0, 2),
    delay=st.sampled_from([0.0, 0.5, 1.5]),
    jitter=st.sampled_from([0.0, 0.05]),
    exit_codes=st.sampled_from([None, None, (75,)]),
)


@st.composite
def plans(draw: st.DrawFn, mode: FailureMode | None = None, most: int = MOST_TASKS) -> Plan:
    size = draw(st.integers(1, most))
    tasks = []
    for index in range(size):
        needed = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        task = Task(
            name=f"t{index}",
            run="true",
            needs=tuple(Need(f"t{other}", draw(conditions)) for other in sorted(needed)),
            retry=draw(retries),
            timeout=draw(st.sampled_from([None, None, TIMEOUT])),
            skip_on_failure=draw(st.integers(0, 4)) == 0,
            priority=draw(st.sampled_from([0, 50, 100])),
            executor=draw(st.sampled_from(["local", "other"])),
        )
        tasks.append(task)
    return Plan(
        name="plan",
        tasks=tuple(draw(st.permutations(tasks))),
        failure_mode=mode or draw(st.sampled_from(FailureMode)),
        max_parallel=draw(st.integers(1, 5)),
    )


class Box(NamedTuple):
    """A task as it is drawn, with the plan that it stands for, if it is one. The name is that in its plan."""

    task: Task
    inside: Inside | None


class Inside(NamedTuple):
    """A plan as it is drawn."""

    boxes: list[Box]
    mode: FailureMode
    slots: int


@st.composite
def insides(draw: st.DrawFn, mode: FailureMode | None, most: int, depth: int, late: bool) -> Inside:
    boxes: list[Box] = []
    left = most
    while left > 0 and (not boxes or draw(st.integers(0, 3))):
        needed = draw(st.sets(st.integers(0, len(boxes) - 1), max_size=2)) if boxes else set()
        inside = None
        if depth and left > 2 and not draw(st.integers(0, 1)):
            inside = draw(insides(mode, left - 1, depth - 1, late))
        timeouts = [None, TIMEOUT if inside is None else 2 * TIMEOUT if late else None]
        task = Task(
            name=f"t{len(boxes)}",
            run="true" if inside is None else None,
            plan=None if inside is None else "inside.yaml",
            needs=tuple(Need(f"t{other}", draw(conditions)) for other in sorted(needed)),
            retry=draw(retries),
            timeout=draw(st.sampled_from(timeouts)),
            skip_on_failure=draw(st.integers(0, 4)) == 0,
            priority=draw(st.sampled_from([0, 50, 100])),
            executor=draw(st.sampled_from(["local", "other"])),
        )
        boxes.append(Box(task, inside))
        left -= 1 if inside is None else 1 + _size(inside)
    chosen = mode or draw(st.sampled_from(FailureMode))
    return Inside(draw(st.permutations(boxes)), chosen, draw(st.integers(1, 3)))


def _size(inside: Inside) -> int:
    return sum(1 + (_size(box.inside) if box.inside else 0) for box in inside.boxes)


@st.composite
def trees(
    draw: st.DrawFn, mode: FailureMode | None = None, most: int = MOST_TASKS, late: bool = True
) -> Plan:
    """Plans within plans, up to four deep. late: also with time-outs of whole subplans."""
    outermost = draw(insides(mode, most, 3, late))
    tasks: list[Task] = []
    subplans: list[Subplan] = []
    _flatten(outermost, "", 0, tasks, subplans)
    return Plan(
        name="plan",
        tasks=tuple(tasks),
        subplans=tuple(subplans),
        failure_mode=outermost.mode,
        max_parallel=outermost.slots,
    )


def _flatten(inside: Inside, prefix: str, scope: int, tasks: list[Task], subplans: list[Subplan]) -> None:
    for box in inside.boxes:
        name = prefix + box.task.name
        needs = tuple(Need(prefix + need.task, need.condition) for need in box.task.needs)
        if box.inside is not None:
            subplans.append(
                Subplan(
                    name=name,
                    task=len(tasks),
                    parent=scope,
                    failure_mode=box.inside.mode,
                    max_parallel=box.inside.slots,
                )
            )
        tasks.append(replace(box.task, name=name, needs=needs, scope=scope))
        if box.inside is not None:
            _flatten(box.inside, f"{name}/", len(subplans), tasks, subplans)


def plays(*kinds: OutcomeKind) -> st.SearchStrategy[Play]:
    return st.builds(
        Play,
        kind=st.sampled_from(kinds),
        duration=seconds(3),
        admission=st.sampled_from([0.0, 0.25, 1.0, None]),
        stopping=st.sampled_from([0.0, 0.25, 10.0]),
        exit_code=st.sampled_from([1, 75]),
    )


one_course = st.tuples(
    st.lists(plays(OutcomeKind.SUCCESS, OutcomeKind.FAILED, OutcomeKind.REFUSED), max_size=3).map(tuple),
    plays(OutcomeKind.SUCCESS, OutcomeKind.FAILED),
).map(lambda drawn: (*drawn[0], drawn[1]))
"""How the hand-overs of one task go, the last again and again: never refused for ever."""

scopes = st.integers(0, 3)
indices = st.integers(0, MOST_TASKS)  # one too far at times: that is refused
task_commands: st.SearchStrategy[TaskCommand] = st.one_of(
    st.builds(CancelTask, index=indices),
    st.builds(KillTask, index=indices),
    st.builds(RetryTask, index=indices, downstream=st.booleans()),
    st.builds(HoldTask, index=indices),
    st.builds(ReleaseTask, index=indices),
    st.builds(SkipTask, index=indices),
    st.builds(MarkSucceeded, index=indices, reason=st.sampled_from(["seen to it", ""])),
)
commands: st.SearchStrategy[Command] = st.one_of(
    task_commands,
    st.builds(RetryFailed),
    st.builds(CancelPlan, interrupted=st.booleans(), kill=st.booleans()),
    st.builds(DrainPlan),
    st.builds(PausePlan, scope=scopes),
    st.builds(ResumePlan, scope=scopes),
    st.builds(SetFailureMode, mode=st.sampled_from(FailureMode), scope=scopes),
    st.builds(SetMaxParallel, slots=st.integers(0, 6), scope=scopes),
)
reports: st.SearchStrategy[Report] = st.one_of(
    st.builds(AttemptStalled, index=indices, attempt=st.integers(0, 3), silent_for=st.just(1.0)),
    st.builds(AttemptRevived, index=indices, attempt=st.integers(0, 3)),
)


class Aimed(NamedTuple):
    """A command to a task that it makes sense for at that time: number `which` of these, counted round."""

    command: TaskCommand
    which: int


class Repeat(NamedTuple):
    """Give a report again that was given before: number `which`, counted round."""

    which: int


Deed = Command | Report | Aimed | Repeat

numbers = st.integers(0, 99)
retry_commands = st.sampled_from([RetryTask(index=0), RetryTask(index=0, downstream=True)])
anything: st.SearchStrategy[Deed] = st.one_of(
    commands,
    reports,
    st.builds(Aimed, retry_commands, numbers),
    st.builds(Aimed, task_commands, numbers),
    st.builds(Repeat, numbers),
)


def deeds(most: int, until: float) -> st.SearchStrategy[list[tuple[float, Deed]]]:
    return st.lists(st.tuples(seconds(until), anything), max_size=most).map(
        lambda drawn: sorted(drawn, key=lambda deed: deed[0])
    )


class Scenario(NamedTuple):
    """All that a run depends on. courses: by the name of the task."""

    plan: Plan
    courses: dict[str, tuple[Play, ...]]
    deeds: list[tuple[float, Deed]]
    seed: int

    def world(self) -> LiveWorld:
        return LiveWorld(self.plan, script(**self.courses), seed=self.seed, max_parallel=None)


@st.composite
def scenarios(
    draw: st.DrawFn, plans: st.SearchStrategy[Plan], deeds: st.SearchStrategy[list[tuple[float, Deed]]]
) -> Scenario:
    plan = draw(plans)
    courses = {task.name: draw(one_course) for task in plan.tasks}
    return Scenario(plan, courses, draw(deeds), draw(st.integers(0, 3)))


undisturbed: st.SearchStrategy[list[tuple[float, Deed]]] = st.just([])
disturbed = st.one_of(
    scenarios(plans(), deeds(most=12, until=10)),
    scenarios(plans(most=4), deeds(most=30, until=8)),  # so that commands meet what others have begun
    scenarios(trees(), deeds(most=12, until=10)),
    scenarios(trees(most=6), deeds(most=30, until=8)),
)


# ── how it is run ───────────────────────────────────────────────────────────────────────────────


def live(scenario: Scenario) -> LiveWorld:
    """Run a scenario to its end: once nobody does anything any more, all holds and pauses are lifted."""
    world = scenario.world()
    for offset, deed in scenario.deeds:
        world.run(until=offset)
        world.offset = offset
        _do(world, deed)
    finish(world)
    return world


def finish(world: LiveWorld) -> None:
    """Lift holds and pauses until the run is complete."""
    for _ in range(3 * MOST_TASKS + 1):  # a failure may bring the next pause
        world.run()
        if world.phase is RunPhase.COMPLETE:
            return
        for index in sorted(world.scheduler.ledger.held):
            world.send(ReleaseTask(index=index))
        if world.phase is RunPhase.PAUSED:
            world.send(ResumePlan())
        for scope in world.scheduler.ledger.scopes.all:
            if scope.is_paused:
                world.send(ResumePlan(scope=scope.number))
    for index in range(len(world.plan.tasks)):
        note(world.scheduler.story(index))
    raise AssertionError(f"the run does not end: {world.phase}")


def _do(world: LiveWorld, deed: Deed) -> None:
    if isinstance(deed, Aimed):
        targets = [
            index for index in range(len(world.plan.tasks)) if _makes_sense(world, deed.command, index)
        ]
        if targets:
            world.give(replace(deed.command, index=targets[deed.which % len(targets)]))
    elif isinstance(deed, Repeat):
        # the number of an attempt that was never taken up is given out again: of these is but one report
        known = [report for report in world.reports if _was_taken_up(world, report)]
        if known:
            world.give(known[deed.which % len(known)])
    else:
        world.give(deed)


def _makes_sense(world: LiveWorld, command: TaskCommand, index: int) -> bool:
    ledger = world.scheduler.ledger
    state = ledger.state[index]
    if isinstance(command, CancelTask | KillTask):
        return state not in TERMINAL
    if isinstance(command, RetryTask):
        return state in TERMINAL or state is TaskState.RETRYING
    if isinstance(command, ReleaseTask):
        return index in ledger.held
    if isinstance(command, MarkSucceeded):
        return state is not TaskState.SUCCESS and index not in ledger.in_flight
    if isinstance(command, HoldTask) and index in ledger.graph.nesting.inside:
        return state is TaskState.RUNNING or ledger.is_waiting(index)
    return ledger.is_waiting(index)


def _was_taken_up(world: LiveWorld, report: Report) -> bool:
    if isinstance(report, AttemptFinished) and report.outcome.kind is OutcomeKind.REFUSED:
        return False
    records = world.scheduler.ledger.history[report.index] or ()
    return any(record.number == report.attempt for record in records)


# ── what must hold ──────────────────────────────────────────────────────────────────────────────


@given(disturbed)
def test_every_run_ends_whatever_happens(scenario: Scenario) -> None:
    world = live(scenario)
    scheduler, snapshot = world.scheduler, world.scheduler.snapshot()
    assert all(task.state in TERMINAL for task in snapshot.tasks)
    assert not world.flights
    assert not scheduler.ledger.in_flight
    assert scheduler.next_deadline() is None
    ended = world.last(PlanCompleted)
    assert ended.diagnosis is None
    assert ended.outcome is _outcome(world)
    assert ended.retried == len(world.all(TaskRetried))
    for task in snapshot.tasks:
        assert [record.number for record in task.attempts] == list(range(1, len(task.attempts) + 1))
        assert all(record.ended is not None for record in task.attempts)


def _outcome(world: LiveWorld) -> Outcome:
    ledger = world.scheduler.ledger
    states = {state for index, state in enumerate(ledger.state) if not ledger.is_excused(index)}
    if TaskState.FAILED in states:
        return Outcome.FAILED
    if TaskState.CANCELLED in states:
        return Outcome.INTERRUPTED if world.scheduler.is_interrupted else Outcome.CANCELLED
    return Outcome.SUCCESS


@given(disturbed, seconds(10))
def test_a_run_whose_engine_is_killed_goes_on_to_its_end(scenario: Scenario, killed: float) -> None:
    world = scenario.world()
    for offset, deed in scenario.deeds:
        if offset < killed:
            world.run(until=offset)
            world.offset = offset
            _do(world, deed)
    world.run(until=killed)
    after = LiveWorld(
        scenario.plan,
        script(**scenario.courses),
        max_parallel=None,
        checked=False,
        snapshot=snapshot_after(world.graph, world.events, "run"),
    )
    after.offset = max(killed, world.offset)
    after.start()
    after.scheduler.check_invariants()
    finish(after)
    assert after.last(PlanCompleted).diagnosis is None if after.events else world.phase is RunPhase.COMPLETE
    assert all(state in TERMINAL for state in after.scheduler.ledger.state)


@given(disturbed)
def test_equal_inputs_give_equal_decisions(scenario: Scenario) -> None:
    def told() -> tuple[list[Event], list[str], int]:
        world = live(scenario)
        return world.events, world.started, world.scheduler.stale_reports

    assert told() == told()


class Fate(NamedTuple):
    """How a task must end. attempts: how many it takes."""

    state: TaskState
    attempts: int
    tolerated: bool = False


def foretell(scenario: Scenario) -> list[Fate]:
    """The ends of all tasks when nobody interferes and failures stop nothing: worked out without time."""
    graph = Graph(scenario.plan)
    fates: dict[int, Fate] = {}
    for index in graph.order:
        task = scenario.plan.tasks[index]
        can_run = all(
            _meets(fates[needed], graph.special_conditions.get((needed, index), Condition.SUCCESS))
            for needed in graph.needs[index]
        )
        course = scenario.courses[task.name]
        fates[index] = _course_of(task, course) if can_run else Fate(TaskState.SKIPPED, 0)
    return [fates[index] for index in range(len(fates))]


def _meets(fate: Fate, condition: Condition) -> bool:
    return fate.state in MET_BY[condition] or (condition is Condition.SUCCESS and fate.tolerated)


def _course_of(task: Task, course: tuple[Play, ...]) -> Fate:
    takes = [play for play in course if play.kind is not OutcomeKind.REFUSED]
    for attempt in range(1, task.retry.limit + 2):
        play = takes[min(attempt, len(takes)) - 1]
        # of an attempt that never says that it runs nobody knows since when
        is_late = task.timeout is not None and play.admission is not None and play.duration > task.timeout
        if play.kind is OutcomeKind.SUCCESS and not is_late:
            return Fate(TaskState.SUCCESS, attempt)
        exit_code = None if is_late else play.exit_code
        if task.retry.exit_codes is not None and exit_code not in task.retry.exit_codes:
            break
    if task.skip_on_failure:
        return Fate(TaskState.SKIPPED, attempt, tolerated=True)
    return Fate(TaskState.FAILED, attempt)


@given(scenarios(plans(FailureMode.CONTINUE_ON_ERROR), undisturbed))
def test_left_alone_every_task_comes_to_the_end_that_its_needs_and_attempts_make(scenario: Scenario) -> None:
    snapshot = live(scenario).scheduler.snapshot()
    assert [Fate(task.state, len(task.attempts), task.tolerated) for task in snapshot.tasks] == foretell(
        scenario
    )


@given(scenarios(plans(FailureMode.PAUSE_ON_FAILURE), undisturbed))
def test_pauses_change_when_tasks_run_but_not_how_they_end(scenario: Scenario) -> None:
    snapshot = live(scenario).scheduler.snapshot()
    assert [Fate(task.state, len(task.attempts), task.tolerated) for task in snapshot.tasks] == foretell(
        scenario
    )


@given(scenarios(plans(FailureMode.FAIL_FAST), undisturbed))
def test_after_a_failure_fail_fast_starts_nothing_but_the_answer_to_it(scenario: Scenario) -> None:
    world = live(scenario)
    failed: set[int] = set()
    after_failure: set[int] = set()
    for event in world.events:
        if isinstance(event, TaskStarted | TaskRetried) and failed:
            assert event.index in after_failure, (
                f"{event.task} started after a failure that it does not answer"
            )
        elif isinstance(event, TaskFailed):
            failed.add(event.index)
            after_failure |= _everything_after(world.graph, event.index)
    expected = Outcome.FAILED if failed else Outcome.SUCCESS
    assert world.scheduler.outcome is expected


def _everything_after(graph: Graph, index: int) -> set[int]:
    found, edge = set(), [index]
    while edge:
        new = [dependent for dependent in graph.dependents[edge.pop()] if dependent not in found]
        found.update(new)
        edge += new
    return found
