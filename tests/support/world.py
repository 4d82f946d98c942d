"""A world for the scheduler: a clock that stands until it is moved, and attempts that exist on paper only.

`World` is moved by hand: the test plays the dispatcher (`admit`, `succeed`, `fail`, `refuse`, `stopped`) and
the clock (`wait`). Every single decision is checked: the scheduler's own invariants, and what can be seen of
it from outside (`Watch`). `LiveWorld` is the same world moving by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple, TypeVar

from engine.core.effects import StartAttempt
from engine.core.events import Event, TaskEvent
from engine.core.inputs import (
    AttemptFinished,
    AttemptOutcome,
    AttemptStarted,
    Command,
    Input,
    Now,
    OutcomeKind,
    Report,
    Start,
    TaskCommand,
    Tick,
)
from engine.core.scheduler import Decision, Scheduler
from engine.core.state import RunPhase, TaskState
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode, Need, Plan, Retry, Subplan, Task
from tests.support.watch import Watch

EPOCH = 1_700_000_000.0
"""What the world's clock calls offset 0, in UTC."""

E = TypeVar("E", bound=Event)

Needs = str | Mapping[str, str]
"""Names with blanks between them, or name -> condition."""


class Spec(NamedTuple):
    """A task without its name, for `plan`."""

    needs: Needs
    fields: Mapping[str, Any]


def task(needs: Needs = "", *, retry: int | Retry = 0, **fields: Any) -> Spec:
    """A task for `plan`. retry: a number of retries without jitter, or a whole `Retry`."""
    if isinstance(retry, int):
        retry = Retry(limit=retry, jitter=0.0)
    return Spec(needs, {"retry": retry, **fields})


class SubSpec(NamedTuple):
    """A subplan without its name, for `plan`. tasks: by the names that they have in it."""

    tasks: Mapping[str, Needs | Spec | SubSpec]
    spec: Spec
    mode: FailureMode
    slots: int


def subplan(
    tasks: Mapping[str, Needs | Spec | SubSpec],
    needs: Needs = "",
    *,
    mode: FailureMode = FailureMode.CONTINUE_ON_ERROR,
    slots: int = 4,
    **fields: Any,
) -> SubSpec:
    """A subplan for `plan`: `subplan({"a": "", "b": "a"}, "build", slots=2)`."""
    return SubSpec(tasks, task(needs, **fields), mode, slots)


def plan(mode: FailureMode = FailureMode.CONTINUE_ON_ERROR, **tasks: Needs | Spec | SubSpec) -> Plan:
    """A plan in one line: `plan(a="", b="a", c={"a": "failed"}, d=task("b c", timeout=5.0))`."""
    flat: list[Task] = []
    subplans: list[Subplan] = []
    _flatten(tasks, "", 0, flat, subplans)
    return Plan(name="plan", failure_mode=mode, tasks=tuple(flat), subplans=tuple(subplans))


def _flatten(
    tasks: Mapping[str, Needs | Spec | SubSpec],
    prefix: str,
    scope: int,
    flat: list[Task],
    subplans: list[Subplan],
) -> None:
    for name, given in tasks.items():
        if isinstance(given, SubSpec):
            place, full = len(flat), f"{prefix}{name}"
            flat.append(_task(prefix, name, given.spec, scope, plan=f"{name}.yaml"))
            subplans.append(
                Subplan(
                    name=full, task=place, parent=scope, failure_mode=given.mode, max_parallel=given.slots
                )
            )
            _flatten(given.tasks, f"{full}/", len(subplans), flat, subplans)
        else:
            spec = given if isinstance(given, Spec) else task(given)
            flat.append(_task(prefix, name, spec, scope, run="true"))


def _task(prefix: str, name: str, spec: Spec, scope: int, **kind: str) -> Task:
    needs = spec.needs
    if isinstance(needs, str):
        needs = dict.fromkeys(needs.split(), "success")
    named = tuple(Need(f"{prefix}{needed}", Condition(condition)) for needed, condition in needs.items())
    return Task(name=f"{prefix}{name}", needs=named, scope=scope, **kind, **spec.fields)


class World:
    """One scheduler, its clock, and all that it has said so far.

    Every helper that gives the scheduler an input returns the decision in short words (see `told`).
    started: the effects StartAttempt so far, as "a#1". checked: False leaves the walk over the whole
    graph after every input out, for plans too big for it.
    """

    def __init__(self, plan: Plan, *, seed: int = 0, checked: bool = True, **settings: Any) -> None:
        self.plan = plan
        self.graph = Graph(plan)
        settings.setdefault("max_parallel", 4)
        self.scheduler = Scheduler(self.graph, "run", random=Random(seed), **settings)
        self.offset = 0.0
        self.events: list[Event] = []
        self.started: list[str] = []
        self.refusal: str | None = None
        """Why the last command was refused."""
        self._checked = checked
        self._watch = Watch(self.scheduler) if checked else None

    # ── giving ──────────────────────────────────────────────────────────────────────────────────

    def scope(self, name: str) -> int:
        """The number of a subplan."""
        return self.graph.nesting.scopes[self.index(name)]

    def give(self, given: Input) -> Decision:
        """Hand one input over, now, and check what comes back."""
        decision = self.scheduler.handle(given, Now(self.offset, EPOCH + self.offset))
        self.events += decision.events
        self.started += [
            f"{self.name(effect.index)}#{effect.attempt}"
            for effect in decision.effects
            if isinstance(effect, StartAttempt)
        ]
        if self._watch is not None:
            self.scheduler.check_invariants()
            self._watch.see(decision)
        return decision

    def start(self) -> list[str]:
        return self.told(self.give(Start()))

    def send(self, command: Command) -> list[str]:
        """Give a command. Raises AssertionError if it is refused."""
        decision = self.give(command)
        assert decision.refusal is None, decision.refusal
        return self.told(decision)

    def refused(self, command: Command) -> str:
        """Give a command that must be refused without any effect; return why it was."""
        before = self.scheduler.snapshot()
        decision = self.give(command)
        assert decision.refusal, f"accepted: {command}"
        assert not decision.events
        assert not decision.effects
        assert self.scheduler.snapshot() == before
        return decision.refusal

    def order(self, command: type[TaskCommand], name: str, **fields: Any) -> list[str]:
        """Give a command about the task of that name."""
        return self.send(command(index=self.index(name), **fields))

    def refuses(self, command: type[TaskCommand], name: str, **fields: Any) -> str:
        """As `refused`, about the task of that name."""
        return self.refused(command(index=self.index(name), **fields))

    # ── playing the dispatcher ──────────────────────────────────────────────────────────────────

    def report(self, kind: type[Report], name: str, attempt: int | None = None, **fields: Any) -> list[str]:
        """Report about an attempt, by default the current one."""
        index = self.index(name)
        number = self.scheduler.ledger.attempt[index] if attempt is None else attempt
        return self.told(self.give(kind(index=index, attempt=number, **fields)))

    def admit(self, *names: str) -> list[str]:
        return [line for name in names for line in self.report(AttemptStarted, name, where=f"pid of {name}")]

    def finish(
        self, name: str, kind: OutcomeKind, error: str = "", exit_code: int | None = None
    ) -> list[str]:
        return self.report(AttemptFinished, name, outcome=AttemptOutcome(kind, error, exit_code))

    def succeed(self, *names: str) -> list[str]:
        return [line for name in names for line in self.finish(name, OutcomeKind.SUCCESS, exit_code=0)]

    def fail(self, name: str, error: str = "exit 1", exit_code: int | None = 1) -> list[str]:
        return self.finish(name, OutcomeKind.FAILED, error, exit_code)

    def refuse(self, *names: str) -> list[str]:
        return [line for name in names for line in self.finish(name, OutcomeKind.REFUSED, "all busy")]

    def stopped(self, name: str) -> list[str]:
        return self.finish(name, OutcomeKind.STOPPED)

    # ── playing the clock ───────────────────────────────────────────────────────────────────────

    def wait(self, seconds: float) -> list[str]:
        """Let time pass, with a tick at each deadline on the way."""
        until = self.offset + seconds
        said: list[str] = []
        while (due := self.scheduler.next_deadline()) is not None and due <= until:
            assert due >= self.offset, "a deadline that has passed already"
            self.offset = due
            said += self.told(self.give(Tick()))
        self.offset = until
        return said

    # ── looking ─────────────────────────────────────────────────────────────────────────────────

    def index(self, name: str) -> int:
        return self.graph.index_of[name]

    def name(self, index: int) -> str:
        return self.plan.tasks[index].name

    def state(self, name: str) -> TaskState:
        return self.scheduler.ledger.state[self.index(name)]

    @property
    def states(self) -> dict[str, str]:
        return {task.name: self.state(task.name).value for task in self.plan.tasks}

    @property
    def phase(self) -> RunPhase:
        return self.scheduler.phase

    @property
    def flying(self) -> list[str]:
        """What a dispatcher has in its hands, as the scheduler sees it."""
        return [self.name(index) for index in sorted(self.scheduler.ledger.in_flight)]

    def all(self, kind: type[E], name: str | None = None) -> list[E]:
        """The events of a type so far, of one task if it is named."""
        return [
            event
            for event in self.events
            if isinstance(event, kind) and (name is None or getattr(event, "task", None) == name)
        ]

    def last(self, kind: type[E], name: str | None = None) -> E:
        """The newest event of a type. Raises IndexError if there is none."""
        return self.all(kind, name)[-1]

    def told(self, decision: Decision) -> list[str]:
        """In short words: "TASK_STARTED a", "PLAN_PAUSED", then "start b#1", "stop c#2", "kill d#1"."""
        lines = [
            f"{event.type} {event.task}" if isinstance(event, TaskEvent) else event.type
            for event in decision.events
        ]
        for effect in decision.effects:
            verb = "start" if isinstance(effect, StartAttempt) else "kill" if effect.kill else "stop"
            lines.append(f"{verb} {self.name(effect.index)}#{effect.attempt}")
        return lines
