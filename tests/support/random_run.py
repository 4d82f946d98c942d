"""A run in which anything legal may happen: the real scheduler, driven by a random source."""

from __future__ import annotations

from random import Random

from engine.core.effects import StartAttempt
from engine.core.events import Event
from engine.core.inputs import (
    AttemptFinished,
    AttemptOutcome,
    AttemptRevived,
    AttemptStalled,
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
    SetMaxParallel,
    SkipTask,
    Start,
    Tick,
)
from engine.core.scheduler import Decision, Scheduler
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode, Need, Plan, Retry, Subplan, Task

TAKEN_UP = (
    OutcomeKind.SUCCESS,
    OutcomeKind.SUCCESS,
    OutcomeKind.FAILED,
    OutcomeKind.FAILED,
    OutcomeKind.STOPPED,
)
NOT_TAKEN_UP = (OutcomeKind.REFUSED, OutcomeKind.STOPPED)


def random_plan(random: Random, *, flat: bool = False) -> Plan:
    """Up to nine tasks with needs of every kind, retries, tolerated failures; at times some are subplans."""
    if not flat and random.random() < 0.5:
        return random_tree(random)
    tasks: list[Task] = []
    conditions = [Condition.SUCCESS] * 6 + list(Condition) if random.random() < 0.7 else [Condition.SUCCESS]
    for number in range(random.randint(1, 9)):
        needed = random.sample(tasks, random.randint(0, min(2, len(tasks))))
        tasks.append(
            Task(
                name=f"t{number}",
                run="true",
                needs=tuple(Need(task.name, random.choice(conditions)) for task in needed),
                retry=Retry(limit=random.choice((0, 0, 1, 2))),
                timeout=random.choice((None, None, 5.0)),
                skip_on_failure=random.random() < 0.2,
            )
        )
    return Plan(
        name="random",
        tasks=tuple(tasks),
        failure_mode=random.choice(list(FailureMode)),
        max_parallel=random.randint(1, 4),
    )


def random_tree(random: Random) -> Plan:
    tasks: list[Task] = []
    subplans: list[Subplan] = []
    _grow(random, "", 0, 3, tasks, subplans)
    return Plan(
        name="random",
        tasks=tuple(tasks),
        subplans=tuple(subplans),
        failure_mode=random.choice(list(FailureMode)),
        max_parallel=random.randint(1, 4),
    )


def _grow(
    random: Random, prefix: str, scope: int, depth: int, tasks: list[Task], subplans: list[Subplan]
) -> None:
    names: list[str] = []
    for number in range(random.randint(1, 4)):
        name = f"{prefix}t{number}"
        is_subplan = depth > 0 and random.random() < 0.4
        needed = random.sample(names, random.randint(0, min(2, len(names))))
        tasks.append(
            Task(
                name=name,
                run=None if is_subplan else "true",
                plan="inside.yaml" if is_subplan else None,
                needs=tuple(Need(other, random.choice([Condition.SUCCESS, *Condition])) for other in needed),
                retry=Retry(limit=random.choice((0, 0, 1, 2))),
                timeout=random.choice((None, None, 5.0)),
                skip_on_failure=random.random() < 0.2,
                scope=scope,
            )
        )
        names.append(name)
        if is_subplan:
            subplans.append(
                Subplan(
                    name=name,
                    task=len(tasks) - 1,
                    parent=scope,
                    failure_mode=random.choice(list(FailureMode)),
                    max_parallel=random.randint(1, 3),
                )
            )
            _grow(random, f"{name}/", len(subplans), depth - 1, tasks, subplans)


def random_command(random: Random, tasks: int) -> Command:
    index = random.randrange(tasks)
    scope = random.choice((0, 0, 1, 2))
    return random.choice(
        (
            CancelTask(index=index),
            KillTask(index=index),
            RetryTask(index=index),
            RetryTask(index=index),
            RetryTask(index=index, downstream=True),
            RetryFailed(),
            HoldTask(index=index),
            ReleaseTask(index=index),
            SkipTask(index=index),
            MarkSucceeded(index=index, reason="seen to by hand"),
            PausePlan(scope=scope),
            ResumePlan(scope=scope),
            ResumePlan(),
            SetFailureMode(mode=random.choice(list(FailureMode)), scope=scope),
            SetMaxParallel(slots=random.randint(1, 4), scope=scope),
            *((CancelPlan(), CancelPlan(kill=True), DrainPlan()) if random.random() < 0.3 else ()),
        )
    )


class RandomRun:
    """Goes on for as long as it is asked to, also after the run has completed (a retry reopens it).

    admits_at_once: attempts are taken up as soon as they are handed over; else the dispatcher may
    keep them waiting, refuse them, or be told to stop them before it has started them. flat: no subplans.
    """

    def __init__(self, seed: int, *, admits_at_once: bool = False, flat: bool = False) -> None:
        self.random = Random(seed)
        self.graph = Graph(random_plan(self.random, flat=flat))
        self.scheduler = Scheduler(self.graph, "run", random=Random(seed))
        self.admits_at_once = admits_at_once
        self.offset = 0.0
        self._taken_up: set[tuple[int, int]] = set()
        self.give(Start())

    def give(self, given: Input) -> Decision:
        """Hand an input to the scheduler, and with it what follows at once."""
        decision = self._handle(given)
        events: list[Event] = [*decision.events]
        effects = [*decision.effects]
        for effect in effects:
            if isinstance(effect, StartAttempt) and self.admits_at_once:
                report = AttemptStarted(index=effect.index, attempt=effect.attempt, where="here")
                following = self._handle(report)
                events += following.events
                effects += following.effects
        return Decision(events, effects, decision.refusal)

    def _handle(self, given: Input) -> Decision:
        if isinstance(given, AttemptStarted):
            self._taken_up.add((given.index, given.attempt))
        elif isinstance(given, AttemptFinished):
            self._taken_up.discard((given.index, given.attempt))
        return self.scheduler.handle(given, Now(self.offset, self.offset))

    def step(self) -> Decision:
        """Let some time pass, and something happen."""
        self.offset += self.random.choice((0.0, 0.25, 1.0, 3.0))
        return self.give(self._next())

    def _next(self) -> Input:
        ledger = self.scheduler.ledger
        deadline = self.scheduler.next_deadline()
        if deadline is not None and deadline <= self.offset:
            return Tick()
        if not ledger.in_flight or self.random.random() < 0.2:
            return random_command(self.random, len(self.graph.plan.tasks))
        index = self.random.choice(sorted(ledger.in_flight))
        number = ledger.attempt[index]
        taken_up = (index, number) in self._taken_up
        if not taken_up and self.random.random() < 0.8:
            return AttemptStarted(index=index, attempt=number, where="here")
        if taken_up and self.random.random() < 0.2:
            if index in ledger.stalled:
                return AttemptRevived(index=index, attempt=number)
            return AttemptStalled(
                index=index, attempt=number, silent_for=self.random.choice((1.0, 2.0, 30.0))
            )
        kind = self.random.choice(TAKEN_UP if taken_up else NOT_TAKEN_UP)
        failed = kind is OutcomeKind.FAILED
        outcome = AttemptOutcome(kind, "exit 1" if failed else "", 1 if failed else None)
        return AttemptFinished(index=index, attempt=number, outcome=outcome)
