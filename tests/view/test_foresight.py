"""What a command would do, said beforehand, is what it does."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.effects import StartAttempt
from engine.core.events import (
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskReset,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
    TaskStopping,
)
from engine.core.inputs import (
    AttemptFinished,
    AttemptOutcome,
    AttemptStarted,
    CancelPlan,
    CancelTask,
    Command,
    DrainPlan,
    HoldTask,
    Input,
    KillTask,
    MarkSucceeded,
    Now,
    OutcomeKind,
    PausePlan,
    ReleaseTask,
    ResumePlan,
    RetryFailed,
    RetryTask,
    SetFailureMode,
    SkipTask,
    Start,
)
from engine.core.scheduler import Scheduler
from engine.core.state import Outcome, RunPhase, TaskState
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode, Need, Plan, Retry, Subplan, Task
from engine.view.foresight import Reach, reach, reach_of_failure
from engine.view.run_view import RunView
from tests.support.events import EventFactory
from tests.support.random_run import RandomRun, random_command


def release(**needs: dict[str, str]) -> Graph:
    """build -> unit, lint -> publish -> rollout; tell needs rollout to fail, sweep needs it finished."""
    shape: dict[str, dict[str, str]] = {
        "build": {},
        "unit": {"build": "success"},
        "lint": {"build": "success"},
        "publish": {"unit": "success", "lint": "success"},
        "rollout": {"publish": "success"},
        "tell": {"rollout": "failed"},
        "sweep": {"rollout": "finished"},
        **needs,
    }
    tasks = tuple(
        Task(
            name=name,
            run="true",
            retry=Retry(limit=2),
            needs=tuple(Need(task, Condition(condition)) for task, condition in needed.items()),
        )
        for name, needed in shape.items()
    )
    return Graph(Plan(name="release", tasks=tasks))


@pytest.fixture
def graph() -> Graph:
    return release()


@pytest.fixture
def events(graph: Graph) -> EventFactory:
    factory = EventFactory(graph)
    factory.plan_started()
    return factory


def seen(events: EventFactory) -> RunView:
    view = RunView(events.graph, "run")
    view.apply(events.events)
    return view


def named(found: Reach, place: str) -> str:
    return " ".join(found.graph.plan.tasks[index].name for index in getattr(found, place))


def halfway(events: EventFactory) -> None:
    """build is done, unit runs, lint has failed and what it blocks is skipped."""
    events.started("build")
    events.completed("build")
    events.started("unit")
    events.started("lint")
    events.failed("lint")
    events.skipped("publish", "lint failed", blocked_by="lint")
    events.skipped("rollout", "publish was skipped", blocked_by="publish")
    events.skipped("tell", "rollout was skipped, not failed", blocked_by="rollout")


def test_a_retry_brings_back_what_only_it_has_blocked(events: EventFactory) -> None:
    halfway(events)
    found = reach(seen(events), RetryTask(index=2))
    assert named(found, "resets") == "lint publish rollout tell"
    assert named(found, "keeps") == "build unit"
    assert found.words() == "resets 4: lint, publish, rollout, tell; keeps 2"


def test_a_retry_leaves_what_another_failure_blocks_as_well(events: EventFactory) -> None:
    halfway(events)
    events.failed("unit")
    assert reach(seen(events), RetryTask(index=2)).words() == "resets lint; keeps 5"
    assert reach(seen(events), RetryFailed()).words() == (
        "resets 5: unit, lint, publish, rollout, tell; keeps 1"
    )


def test_a_retry_brings_back_what_fail_fast_has_cancelled_on_its_account(events: EventFactory) -> None:
    events.started("build")
    events.completed("build")
    events.started("lint")
    events.failed("lint")
    events.skipped("publish", "lint failed", blocked_by="lint")
    events.cancelled("unit", "fail-fast: lint failed", blocked_by="lint")
    view = seen(events)
    assert named(reach(view, RetryTask(index=2)), "resets") == "unit lint publish"
    # unit would run again, but publish would still find lint failed
    assert named(reach(view, RetryTask(index=1)), "resets") == "unit"


def test_what_a_person_has_skipped_stays_skipped(events: EventFactory) -> None:
    events.started("build")
    events.failed("build")
    events.skipped("unit", "skipped by operator")
    assert named(reach(seen(events), RetryTask(index=0)), "resets") == "build"


def test_a_retry_with_all_after_it_runs_every_finished_task_behind_it_again(events: EventFactory) -> None:
    for task in ("build", "unit", "lint", "publish"):
        events.started(task)
        events.completed(task)
    events.started("rollout")
    found = reach(seen(events), RetryTask(index=1, downstream=True))
    assert named(found, "resets") == "unit publish"
    assert named(found, "keeps") == "build lint rollout"
    assert found.words() == "resets unit and publish; keeps 3"


def test_a_retry_with_all_after_it_leaves_what_could_not_run(events: EventFactory) -> None:
    halfway(events)
    events.completed("unit")
    assert named(reach(seen(events), RetryTask(index=1, downstream=True)), "resets") == "unit"


def test_cancelling_a_running_task_stops_it_and_skips_what_needs_its_success(events: EventFactory) -> None:
    events.started("build")
    events.completed("build")
    events.started("unit")
    found = reach(seen(events), CancelTask(index=1))
    assert named(found, "stops") == "unit"
    assert named(found, "skips") == "publish rollout tell"
    assert named(found, "cancels") == ""
    assert named(found, "frees") == "sweep"
    assert found.words() == ("stops unit now; skips 3: publish, rollout, tell; frees sweep; keeps 1")


def test_cancelling_a_waiting_task_never_starts_it(events: EventFactory) -> None:
    found = reach(seen(events), CancelTask(index=5))
    assert found.words() == "cancels tell"


def test_killing_hastens_a_stop_that_is_under_way(events: EventFactory) -> None:
    events.started("build")
    events.stopping("build")
    found = reach(seen(events), KillTask(index=0))
    assert named(found, "stops") == "build"


def test_cancelling_the_plan_stops_what_runs_and_cancels_the_rest(events: EventFactory) -> None:
    halfway(events)
    found = reach(seen(events), CancelPlan())
    assert named(found, "stops") == "unit"
    assert named(found, "cancels") == "sweep"
    assert found.words() == "stops unit now; cancels sweep; keeps 5"


def test_draining_keeps_what_runs(events: EventFactory) -> None:
    events.started("build")
    events.completed("build")
    events.started("unit")
    events.started("lint")
    events.retry_scheduled("lint")
    found = reach(seen(events), DrainPlan())
    assert named(found, "stops") == ""
    assert named(found, "cancels") == "lint publish rollout tell sweep"
    assert named(found, "keeps") == "build unit"


def test_skipping_a_task_skips_what_needs_its_success(events: EventFactory) -> None:
    found = reach(seen(events), SkipTask(index=4))
    assert named(found, "skips") == "rollout tell"
    assert named(found, "frees") == "sweep"


def test_marking_a_failed_task_as_done_frees_and_brings_back(events: EventFactory) -> None:
    halfway(events)
    events.completed("unit")
    found = reach(seen(events), MarkSucceeded(index=2, reason="checked by hand"))
    assert named(found, "resets") == "publish rollout tell"
    assert named(found, "keeps") == "build unit"


def test_marking_a_task_as_done_skips_what_waits_for_its_failure(events: EventFactory) -> None:
    found = reach(seen(events), MarkSucceeded(index=4, reason="done by hand"))
    assert found.words() == "skips tell; frees sweep"


def test_a_tolerated_failure_dooms_nothing(events: EventFactory) -> None:
    events.started("build")
    events.tolerated("build")
    found = reach(seen(events), CancelTask(index=1))
    assert named(found, "cancels") == "unit"
    assert reach(seen(events), RetryTask(index=0)).words() == "resets build"


def test_cutting_a_back_off_short_touches_nothing_else(events: EventFactory) -> None:
    events.started("build")
    events.retry_scheduled("build")
    view = seen(events)
    assert reach(view, RetryTask(index=0)).words() == "resets build"
    assert reach(view, RetryTask(index=0, downstream=True)).words() == "changes nothing"


def test_what_is_brought_back_but_lacks_another_need_is_skipped_at_once() -> None:
    graph = release(pack={"lint": "success", "unit": "success"})
    events = EventFactory(graph)
    events.plan_started()
    for task in ("build", "unit", "lint"):
        events.started(task)
        events.completed(task)
    events.started("pack")
    events.failed("pack")
    events.reset("lint")
    events.cancelled("lint")  # a person ran it again, and then did not want it
    found = reach(seen(events), RetryFailed())
    assert found.words() == "skips pack; keeps 3"


def test_cutting_a_back_off_short_helps_nothing_where_a_need_has_failed_since(events: EventFactory) -> None:
    events.started("build")
    events.completed("build")
    events.started("unit")
    events.retry_scheduled("unit")
    events.reset("build")
    events.started("build")
    events.failed("build")
    assert reach(seen(events), RetryTask(index=1)).words() == "changes nothing"  # for it is refused


def test_many_stops_are_counted(events: EventFactory) -> None:
    for task in ("build", "unit", "lint"):
        events.started(task)
    view = seen(events)
    assert reach(view, CancelPlan()).words() == (
        "stops 3 now: build, unit, lint; cancels 4: publish, rollout, tell, sweep"
    )


def test_names_are_shown_without_control_characters() -> None:
    graph = Graph(Plan(name="p", tasks=(Task(name="bad\x1b[31m\nname", run="true"),)))
    events = EventFactory(graph)
    events.plan_started()
    events.started("bad\x1b[31m\nname")
    assert reach(seen(events), KillTask(index=0)).words() == "stops bad name now"


@pytest.mark.parametrize(
    "command",
    [
        CancelTask(index=0),
        KillTask(index=0),
        SkipTask(index=0),
        SkipTask(index=1),
        MarkSucceeded(index=0, reason="again"),
        MarkSucceeded(index=1, reason="it runs"),
        RetryTask(index=1),
        RetryTask(index=6),
        HoldTask(index=6),
    ],
)
def test_what_would_be_refused_changes_nothing(events: EventFactory, command: Command) -> None:
    events.started("build")
    events.completed("build")
    events.started("unit")
    found = reach(seen(events), command)
    assert found.words() == "changes nothing"
    assert named(found, "keeps") == "build unit"


@pytest.mark.parametrize(
    ("phase", "command"),
    [
        (RunPhase.PENDING, CancelPlan()),
        (RunPhase.DRAINING, DrainPlan()),
        (RunPhase.DRAINING, RetryTask(index=2)),
        (RunPhase.CANCELLING, CancelPlan()),
        (RunPhase.CANCELLING, RetryFailed()),
        (RunPhase.CANCELLING, MarkSucceeded(index=2, reason="done")),
        (RunPhase.COMPLETE, CancelPlan()),
        (RunPhase.COMPLETE, DrainPlan()),
    ],
)
def test_in_some_phases_a_command_makes_no_sense(
    events: EventFactory, phase: RunPhase, command: Command
) -> None:
    halfway(events)
    if phase is RunPhase.COMPLETE:
        events.plan_completed(Outcome.FAILED)
    else:
        events.paused(phase)
    assert reach(seen(events), command).words() == "changes nothing"


def test_a_cancellation_under_way_can_be_hastened(events: EventFactory) -> None:
    halfway(events)
    events.paused(RunPhase.CANCELLING)
    events.stopping("unit")
    assert named(reach(seen(events), CancelPlan(kill=True)), "stops") == "unit"


def touched(events: list[TaskEvent], kind: type[TaskEvent]) -> tuple[int, ...]:
    return tuple(sorted({event.index for event in events if type(event) is kind}))


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_it_comes_as_foreseen(seed: int, steps: int) -> None:
    run = RandomRun(seed, admits_at_once=True)
    for _ in range(steps):
        run.step()
    for _ in range(40):
        view = RunView.from_snapshot(run.graph, run.scheduler.snapshot())
        flying = set(run.scheduler.ledger.in_flight)
        command = random_command(run.random, len(run.graph.plan.tasks))
        found = reach(view, command)
        decision = run.give(command)
        subplans = run.graph.nesting.inside
        everything = [event for event in decision.events if isinstance(event, TaskEvent)]
        said = [event for event in everything if event.index not in subplans]
        if decision.refusal is not None:
            # a view cannot tell whether what is stopping was cancelled already
            assert isinstance(command, CancelTask) or found.words() == "changes nothing"
        else:
            ended_skipped = touched(said, TaskSkipped)
            reopened = any(e.index in subplans and isinstance(e, TaskReset) for e in everything)
            rests = view.phase is RunPhase.PAUSED or any(scope.paused for scope in view.scopes.all)
            rests = rests or any(task.held for task in view.tasks)
            if (reopened and rests) or isinstance(command, ResumePlan | ReleaseTask):
                run.step()  # what begins then, and ends at once with nothing left inside, is not foreseen
                continue
            # what was brought back and skipped or cancelled again has in effect been left alone
            cancelled = touched(said, TaskCancelled)
            ended = {*ended_skipped, *cancelled}
            assert tuple(i for i in touched(said, TaskReset) if i not in ended) == found.resets
            if not (isinstance(command, DrainPlan) and flying):  # what waits is cancelled when nothing runs
                again = {i for i in cancelled if view.tasks[i].state is TaskState.CANCELLED}
                assert tuple(i for i in cancelled if i not in again) == found.cancels
            inside = subplans.get(getattr(command, "index", -1), ())
            if not found.stops and flying.isdisjoint(inside):  # else they are skipped once that has stopped
                skipped = (i for i in ended_skipped if view.tasks[i].state is not TaskState.SKIPPED)
                assert tuple(skipped) == found.skips
            stops = touched(said, TaskStopping)
            if isinstance(command, CancelPlan) and not command.kill:
                stops += tuple(i for i in flying if view.tasks[i].state is TaskState.STOPPING)
            assert tuple(sorted(stops)) == found.stops
        run.step()


def with_subplan(**of_subplan: object) -> Graph:
    """sub stands for a, which fails, and b, which waits; other runs, last waits for it. tell and mend, which
    stands for x, answer a failure of sub, sweep comes after tell, and after needs sub's success."""

    def task(name: str, scope: int = 0, plan: str | None = None, **needs: Condition) -> Task:
        needed = tuple(Need(other, condition) for other, condition in needs.items())
        more = of_subplan if name == "sub" else {}
        return Task(name=name, run=None if plan else "true", plan=plan, scope=scope, needs=needed, **more)  # type: ignore[arg-type]

    tasks = (
        task("sub", plan="sub.yaml"),
        task("sub/a", 1),
        task("sub/b", 1),
        task("other"),
        task("last", other=Condition.SUCCESS),
        task("tell", sub=Condition.FAILED),
        task("sweep", tell=Condition.FINISHED),
        task("mend", plan="mend.yaml", sub=Condition.FAILED),
        task("mend/x", 2),
        task("after", sub=Condition.SUCCESS),
    )
    subplans = (
        Subplan(name="sub", task=0, parent=0, failure_mode=FailureMode.CONTINUE_ON_ERROR, max_parallel=1),
        Subplan(name="mend", task=7, parent=0, failure_mode=FailureMode.FAIL_FAST, max_parallel=1),
    )
    return Graph(Plan(name="nested", tasks=tasks, subplans=subplans, failure_mode=FailureMode.FAIL_FAST))


@pytest.mark.parametrize(
    ("of_subplan", "words"),
    [
        ({}, "stops other now; cancels last; skips sub/b and after; frees tell; keeps 1"),
        ({"skip_on_failure": True}, "skips 3: sub/b, tell, mend/x; frees sweep and after; keeps 2"),
        ({"retry": Retry(limit=1)}, "skips sub/b; keeps 2"),
    ],
    ids=["it fails", "it is tolerated", "it is tried again"],
)
def test_what_the_failure_of_a_subplan_brings_about_is_foreseen(
    of_subplan: dict[str, object], words: str
) -> None:
    graph = with_subplan(**of_subplan)
    scheduler = Scheduler(graph, "run", random=Random(0))
    at = {task.name: index for index, task in enumerate(graph.plan.tasks)}

    def give(given: Input) -> list[TaskEvent]:
        decision = scheduler.handle(given, Now(0.0, 0.0))
        assert decision.refusal is None
        said = [event for event in decision.events if isinstance(event, TaskEvent)]
        for effect in decision.effects:
            if isinstance(effect, StartAttempt):
                said += give(AttemptStarted(index=effect.index, attempt=effect.attempt))
        return [event for event in said if event.index not in graph.nesting.inside]

    give(Start())
    give(HoldTask(index=at["sub/b"]))
    outcome = AttemptOutcome(OutcomeKind.FAILED, "exit 1", 1)
    give(AttemptFinished(index=at["sub/a"], attempt=1, outcome=outcome))
    command = SkipTask(index=at["sub/b"])
    found = reach(RunView.from_snapshot(graph, scheduler.snapshot()), command)
    assert found.words() == words
    said = give(command)
    assert touched(said, TaskStopping) == found.stops
    assert touched(said, TaskCancelled) == found.cancels
    assert touched(said, TaskSkipped) == found.skips


def test_many_are_named_and_the_rest_is_counted() -> None:
    graph = Graph(Plan(name="wide", tasks=tuple(Task(name=f"t{n}", run="true") for n in range(9))))
    events = EventFactory(graph)
    events.plan_started()
    assert reach(seen(events), CancelPlan()).words() == "cancels 9: t0, t1, t2, t3, t4, t5 and 3 more"


MANY = (CancelTask, KillTask, RetryTask, SkipTask, MarkSucceeded)


def chosen(run: RandomRun) -> list[Command]:
    """One thing, asked of several tasks."""
    random, kind = run.random, run.random.choice(MANY)
    tasks = range(len(run.graph.plan.tasks))
    more = {"reason": "done"} if kind is MarkSucceeded else {}
    picked = sorted(random.sample(tasks, random.randint(1, len(tasks))))
    return [kind(index=index, **more) for index in picked]


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_several_together_come_as_foreseen(seed: int, steps: int) -> None:
    run = RandomRun(seed, admits_at_once=True, flat=True)
    for _ in range(steps):
        run.step()
    for _ in range(20):
        run.give(PausePlan())  # else what the first of them frees starts before the second comes
        view = RunView.from_snapshot(run.graph, run.scheduler.snapshot())
        commands = chosen(run)
        found = reach(view, *commands)
        decisions = [run.give(command) for command in commands]
        said = [event for each in decisions for event in each.events if isinstance(event, TaskEvent)]
        states = [run.scheduler.ledger.state[index] for index in range(len(view.tasks))]
        # a view cannot tell whether what is stopping was cancelled already
        again = {i for i in found.stops if view.tasks[i].state is TaskState.STOPPING}
        assert set(found.stops) - again <= set(touched(said, TaskStopping)) <= set(found.stops)
        flying = set(found.stops)
        changed = {i for i, state in enumerate(states) if state is not view.tasks[i].state} - flying
        waiting = {TaskState.PENDING, TaskState.READY}
        # what one of them lets start before the next has come is out of its reach
        has_started = touched(said, TaskStarted) or touched(said, TaskRetried)
        if view.phase is RunPhase.PAUSED and not has_started:
            for index in found.resets:
                assert states[index] in waiting or index in flying
            for index in found.cancels:
                assert states[index] is TaskState.CANCELLED
            if not flying:  # else they are skipped once it has stopped
                for index in found.skips:
                    assert states[index] is TaskState.SKIPPED
            quiet = {i for i in changed if {states[i], view.tasks[i].state} <= waiting}
            marked = {i for i in changed if states[i] is TaskState.SUCCESS}
            told = {*found.resets, *found.cancels, *found.skips}
            assert changed - quiet - marked <= told
        run.give(ResumePlan())
        run.step()


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_a_failure_under_fail_fast_comes_as_foreseen(seed: int, steps: int) -> None:
    run = RandomRun(seed, admits_at_once=True, flat=True)
    for _ in range(steps):
        run.step()
    run.give(SetFailureMode(mode=FailureMode.FAIL_FAST))
    ledger = run.scheduler.ledger
    running = [i for i in sorted(ledger.in_flight) if ledger.state[i] is TaskState.RUNNING]
    if not running:
        return
    found = reach_of_failure(RunView.from_snapshot(run.graph, run.scheduler.snapshot()))
    assert list(found.stops) == running
    answering = set(ledger.answering)
    outcome = AttemptOutcome(OutcomeKind.FAILED, "exit 1", 1)
    culprit = run.random.choice(running)
    given_up = AttemptFinished(index=culprit, attempt=ledger.attempt[culprit], outcome=outcome)
    said = [event for event in run.give(given_up).events if isinstance(event, TaskEvent)]
    if touched(said, TaskFailed):  # else it is tried again, or tolerated
        assert set(touched(said, TaskStopping)) == set(running) - {culprit} - answering
        assert set(touched(said, TaskCancelled)) <= set(found.cancels)
