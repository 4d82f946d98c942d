"""What is known of every task, and the one door through which its state changes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Container, Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from engine.core.records import INTERRUPTED, AttemptRecord, TaskSnapshot
from engine.core.scopes import Scope, Scopes
from engine.core.state import (
    CANCELLED,
    FAILED,
    PENDING,
    READY,
    RETRYING,
    RUNNING,
    SKIPPED,
    STOPPING,
    SUCCESS,
    TERMINAL,
    TRANSITIONS,
    TaskState,
)
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode
from engine.plan.nesting import OUTERMOST

TIMED_OUT: Final = "timed out"
"""How the reason of a stop begins that a time-out brought about."""


class InvariantBroken(AssertionError):
    """The scheduler contradicts itself. The message tells the story of the task concerned."""


class StopKind(Enum):
    """Who wants a running attempt to end."""

    CANCEL = "cancel"
    FAIL_FAST = "fail_fast"
    TIMEOUT = "timeout"


class Stop(NamedTuple):
    """Why an attempt is stopping. culprit: the task whose failure brought it about, for FAIL_FAST.
    is_final: if this turns out to be a failure, it is not to be tried again."""

    kind: StopKind
    cause: str
    reason: str
    culprit: int | None = None
    is_final: bool = False


class Verdict(Enum):
    """What the task needed has to say about one need, or a subplan about what is inside."""

    WAIT = "not met yet"
    MET = "met"
    NEVER = "cannot be met"


class Tally(NamedTuple):
    """How many tasks have ended how. tolerated: of the skipped, those that had failed."""

    success: int
    failed: int
    skipped: int
    cancelled: int
    tolerated: int


_AT_END: dict[tuple[TaskState, Condition], Verdict] = (
    {(state, condition): Verdict.NEVER for state in TERMINAL for condition in Condition}
    | {
        (SUCCESS, Condition.SUCCESS): Verdict.MET,
        (FAILED, Condition.FAILED): Verdict.MET,
        (SKIPPED, Condition.SKIPPED): Verdict.MET,
    }
    | {(state, Condition.FINISHED): Verdict.MET for state in TERMINAL}
)


_WAITING: Final = frozenset({PENDING, READY, RETRYING})


class Ledger:
    """The state of every task of a run, by index. What few tasks have stands in dicts and sets.

    A task that stands for a subplan has attempts like any other, but they are in no dispatcher's hands.
    That it is RUNNING is a need of all that belongs to the subplan.

    unmet: needs not met yet, meaningful while PENDING. attempt: the last number handed out, 0 before
    any. in_flight: what a dispatcher has in its hands; each takes a slot. retries: used up since the
    last reset. due: when a back-off ends. tolerated: SKIPPED after a failure that is tolerated.
    blocked_by: for SKIPPED and fail-fast CANCELLED, the task whose end made it so. causes: what the
    next attempt comes from, where it is not that its needs are met. deferred: when a full dispatcher is
    asked again. answering: spared by fail-fast, now and when it strikes again. outputs: what a SUCCESS
    has left. usual: seconds that each task usually takes, None where that is not known, empty if it is
    known of none. settled: subplans in which everything has come to an end, and that now come to theirs.
    """

    def __init__(
        self,
        graph: Graph,
        usual: Sequence[float | None] = (),
        *,
        max_parallel: int | None = None,
        failure_mode: FailureMode | None = None,
    ) -> None:
        """max_parallel, failure_mode: of the plan that is run, over its own."""
        count = len(graph.needs)
        self.graph = graph
        self.usual = usual
        self.scopes = Scopes(graph, max_parallel, failure_mode)
        self.settled: list[Scope] = []
        self._parents = graph.nesting.parents
        self.names = [task.name for task in graph.plan.tasks]
        self.state: list[TaskState] = [PENDING] * count
        self.unmet: list[int] = [len(needs) for needs in graph.needs]
        for index, parent in enumerate(self._parents):
            self.unmet[index] += parent != OUTERMOST
        self.attempt: list[int] = [0] * count
        self.history: list[list[AttemptRecord] | None] = [None] * count
        self.counts: dict[TaskState, int] = dict.fromkeys(TaskState, 0)
        self.counts[PENDING] = count
        self.in_flight: set[int] = set()
        self.held: dict[int, str] = {}  # by whom
        self.stalled: dict[int, float] = {}
        self.retries: dict[int, int] = {}
        self.due: dict[int, float] = {}
        self.stops: dict[int, Stop] = {}
        self.tolerated: set[int] = set()
        self.reasons: dict[int, str] = {}
        self.blocked_by: dict[int, int] = {}
        self.causes: dict[int, str] = {}
        self.deferred: dict[int, float] = {}
        self.answering: set[int] = set()
        self.outputs: dict[int, dict[str, str]] = {}
        self._recent: deque[tuple[float, int, TaskState, TaskState]] = deque(maxlen=1_000)

    def enter(self, index: int, state: TaskState, offset: float) -> None:
        """Move a task. Every change of state in the whole engine goes through here."""
        old = self.state[index]
        if state not in TRANSITIONS[old]:
            raise InvariantBroken(f"illegal move {old} -> {state}\n{self.story(index)}")
        self.state[index] = state
        self.counts[old] -= 1
        self.counts[state] += 1
        self._recent.append((offset, index, old, state))
        if self._parents:
            self._count_inside(index, old, state)

    def _count_inside(self, index: int, old: TaskState, state: TaskState) -> None:
        """Keep count of what is unfinished in each subplan, and note those in which nothing is any more."""
        if (old in TERMINAL) != (state in TERMINAL):
            scope = self.scopes.of(index)
            scope.unfinished += 1 if old in TERMINAL else -1
            if not scope.unfinished and scope.outer is not None:
                self.settled.append(scope)

    @property
    def unfinished(self) -> int:
        """How many tasks are not terminal."""
        counts = self.counts
        return counts[PENDING] + counts[READY] + counts[RUNNING] + counts[RETRYING] + counts[STOPPING]

    def condition(self, needed: int, dependent: int) -> Condition:
        return self.graph.special_conditions.get((needed, dependent), Condition.SUCCESS)

    def verdict(self, needed: int, dependent: int) -> Verdict:
        """Whether `dependent`'s need of `needed` is met, may be, or cannot be any more."""
        state = self.state[needed]
        if state not in TERMINAL:
            return Verdict.WAIT
        condition = self.condition(needed, dependent)
        if condition is Condition.SUCCESS and needed in self.tolerated:
            return Verdict.MET
        return _AT_END[state, condition]

    def gate(self, index: int) -> Verdict:
        """Whether the subplan that a task belongs to lets it run: it must be going on."""
        if not self._parents or (parent := self._parents[index]) == OUTERMOST:
            return Verdict.MET
        state = self.state[parent]
        if state is RUNNING:
            return Verdict.MET
        return Verdict.WAIT if state in _WAITING else Verdict.NEVER

    def count_unmet(self, index: int) -> int:
        unmet = sum(self.verdict(needed, index) is not Verdict.MET for needed in self.graph.needs[index])
        return unmet + (self.gate(index) is not Verdict.MET) if self._parents else unmet

    def doomed_by(self, index: int) -> int | None:
        """The first task on account of which this one can never run, the subplan that it belongs to being
        the last; None if it can."""
        for needed in self.graph.needs[index]:
            if self.verdict(needed, index) is Verdict.NEVER:
                return needed
        return self._parents[index] if self.gate(index) is Verdict.NEVER else None

    def is_startable(self, index: int) -> bool:
        """READY and in nobody's hands: may be started unless held."""
        return self.state[index] is READY and index not in self.in_flight and index not in self.held

    def is_waiting(self, index: int) -> bool:
        """Not terminal, and no attempt of it is going on."""
        return self.state[index] in _WAITING and index not in self.in_flight

    def is_subplan(self, index: int) -> bool:
        """Whether it stands for a subplan."""
        return index in self.graph.nesting.inside

    def inside(self, index: int) -> range:
        """All that is inside of a task that stands for a subplan, at any depth; nothing for any other."""
        return self.graph.nesting.inside.get(index, range(0))

    def word(self, index: int) -> str:
        """The state in a word for people, who should not be told that what is starting is ready."""
        is_starting = self.state[index] is READY and index in self.in_flight
        return "starting" if is_starting else self.state[index].value

    def waiting(self, among: Iterable[int] | None = None) -> list[int]:
        """All that `is_waiting`, in plan order. among: of these only."""
        indices = range(len(self.state)) if among is None else among
        return [index for index in indices if self.is_waiting(index)]

    def going(self, among: range | None = None) -> list[int]:
        """What is in flight and the subplans that go on, in plan order. among: of these only."""
        going = [*self.in_flight]
        going += [parent for parent in self.graph.nesting.scopes if self.state[parent] in (RUNNING, STOPPING)]
        return sorted(going if among is None else [index for index in going if index in among])

    def is_excused(self, index: int) -> bool:
        """Whether it lies inside a subplan whose end makes up for that of the task."""
        return any(self.state[parent] in (SUCCESS, SKIPPED) for parent in self.graph.nesting.around(index))

    def tally(self) -> Tally:
        """How the tasks have ended. One that stands for a subplan counts only if it has failed or was
        cancelled while nothing inside has, or was, that is not made up for."""
        counts = {state: self.counts[state] for state in TERMINAL}
        tolerated = len(self.tolerated)
        for parent, inside in self.graph.nesting.inside.items():
            state = self.state[parent]
            counts[state] -= 1
            tolerated -= parent in self.tolerated
            if state in (FAILED, CANCELLED) and not self.is_excused(parent):
                bad = (index for index in inside if self.state[index] is state)
                counts[state] += all(self.is_excused(index) for index in bad)
        for index, parent in enumerate(self._parents):
            state = self.state[index]
            if state not in (FAILED, CANCELLED) or parent == OUTERMOST or not self.is_excused(index):
                continue
            if not self.is_subplan(index):
                counts[state] -= 1
                counts[SKIPPED] += 1
                tolerated += state is FAILED
        return Tally(counts[SUCCESS], counts[FAILED], counts[SKIPPED], counts[CANCELLED], tolerated)

    def forget(self, index: int) -> None:
        """Drop what belongs to the state that a task leaves by a person's command or a reset."""
        self.due.pop(index, None)
        self.retries.pop(index, None)
        self.reasons.pop(index, None)
        self.blocked_by.pop(index, None)
        self.deferred.pop(index, None)
        self.outputs.pop(index, None)
        self.tolerated.discard(index)
        self.answering.discard(index)

    def was_taken_up(self, index: int) -> bool:
        """Whether the dispatcher has said of the current attempt that it runs, or ran."""
        records = self.history[index]
        return records is not None and records[-1].number == self.attempt[index]

    def stands_in(self, index: int) -> bool:
        """Whether the attempt that was taken up last is in place of an interrupted one."""
        records = self.history[index] or ()
        return len(records) > 1 and records[-2].error == INTERRUPTED

    def interruptions(self, index: int) -> int:
        """How many of the attempts right before the current one were cut off."""
        earlier = (self.history[index] or [])[:-1]
        cut_off = itertools.takewhile(lambda record: record.error == INTERRUPTED, reversed(earlier))
        return sum(1 for _ in cut_off)

    def open_record(self, index: int, offset: float, where: str) -> None:
        """Write down that the current attempt was taken up."""
        record = AttemptRecord(self.attempt[index], offset, where=where)
        if self.state[index] is STOPPING:
            record.stopping = offset
        records = self.history[index]
        if records is None:
            self.history[index] = [record]
        else:
            records.append(record)

    def note_stop(self, index: int, offset: float) -> None:
        """Write down when the current attempt was told to stop, if it runs and for the first time."""
        records = self.history[index]
        if records is not None and self.was_taken_up(index) and records[-1].stopping is None:
            records[-1].stopping = offset

    def close_record(self, index: int, offset: float, exit_code: int | None, error: str | None) -> float:
        """Write down how the current attempt ended; return the seconds it took."""
        records = self.history[index]
        if records is None or not self.was_taken_up(index):
            return 0.0
        record = records[-1]
        record.ended = offset
        record.exit_code = exit_code
        record.error = error
        return offset - record.started

    def snapshot(self, index: int) -> TaskSnapshot:
        blocked_by = self.blocked_by.get(index)
        stop = self.stops.get(index)
        return TaskSnapshot(
            state=self.state[index],
            attempts=tuple(self.history[index] or ()),
            held=index in self.held,
            held_by=self.held.get(index, ""),
            stalled_since=self.stalled.get(index),
            due=self.due.get(index, self.deferred.get(index)),
            reason=self.reasons.get(index, "") if stop is None else stop.reason,
            blocked_by=None if blocked_by is None else self.names[blocked_by],
            tolerated=index in self.tolerated,
            retries=self.retries.get(index, 0),
            outputs=self.outputs.get(index),
            usual=self.usual[index] if self.usual else None,
        )

    def story(self, index: int) -> str:
        """All that is known of a task, in lines for people."""
        needs = ", ".join(
            f"{self.names[needed]!r} ({self.condition(needed, index)}: {self.state[needed]})"
            for needed in self.graph.needs[index]
        )
        lines = [
            f"task {self.names[index]!r} is {self.state[index]}, attempt {self.attempt[index]}",
            f"  needs {needs or 'nothing'}; {self.unmet[index]} unmet",
        ]
        lines += [
            f"  inside {self.names[parent]!r}, which is {self.state[parent]}"
            for parent in self.graph.nesting.around(index)[:1]
        ]
        marks = [name for name, members in self._marks() if index in members]
        if marks:
            lines.append("  " + ", ".join(marks))
        for record in self.history[index] or ():
            end = "goes on" if record.ended is None else f"ended {record.ended:.3f}s"
            error = record.error or ""
            lines.append(f"  attempt {record.number}: began {record.started:.3f}s, {end} {error}")
        lines.extend(
            f"  {offset:.3f}s {old} -> {new}" for offset, task, old, new in self._recent if task == index
        )
        return "\n".join(lines)

    def _marks(self) -> tuple[tuple[str, Container[int]], ...]:
        return (
            ("in flight", self.in_flight),
            ("held", self.held),
            ("stalled", self.stalled),
            ("stopping", self.stops),
            ("in back-off", self.due),
            ("tolerated", self.tolerated),
        )
