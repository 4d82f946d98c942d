"""`Tally`: the tasks of a run as they stand, all that is counted of them, and the door through which their
states change."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import Final, NamedTuple

from engine.core.state import TERMINAL, Outcome, RunPhase, TaskState
from engine.ground.text import one_line
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode
from engine.view.pace import Pace
from engine.view.scope_view import ScopeViews
from engine.view.task_view import MET_BY, TaskView

COURSE_LIMIT: Final = 60

_PENDING, _READY = TaskState.PENDING, TaskState.READY
_RUNNING, _STOPPING, _RETRYING = TaskState.RUNNING, TaskState.STOPPING, TaskState.RETRYING
_SUCCESS, _FAILED, _SKIPPED = TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED
_CANCELLED = TaskState.CANCELLED


class Changes(NamedTuple):
    """What was touched since the last look.

    tasks: indices of the tasks whose own row may look different. plan: anything that is not about
    one task (the phase, the mode, the slots): every row may look different.
    """

    tasks: set[int]
    plan: bool


class Tally:
    """Counting costs the same in a plan of any size.

    That a task is READY is no event of its own: it is derived from the needs, so that PENDING and READY are
    exact after every event.

    A task that stands for a subplan does no work: it is in no count, no health and no progress, and takes no
    slot; what is inside is and does.

    tasks: by index. counts: every `TaskState` is a key. stalled: index -> offset since
    which the task has been silent, oldest first. active: indices of what holds a slot (RUNNING or
    STOPPING). started_at, ended_at: offsets. pace: how long tasks take.
    """

    def __init__(self, graph: Graph, run_id: str, usual: Sequence[float | None] = ()) -> None:
        """usual: seconds that each task takes in past runs, None where they do not tell; empty if they
        tell nothing."""
        plan = graph.plan
        self.plan = plan
        self.graph = graph
        self.run_id = run_id
        self.phase = RunPhase.PENDING
        self.outcome: Outcome | None = None
        self.diagnosis: str | None = None
        self.scopes = ScopeViews(graph)
        self._subplans = graph.nesting.children
        self.total = plan.total
        """How many tasks do work."""
        self.tasks = [
            TaskView(index, task.name, task.retry.limit, len(graph.needs[index]) + (task.scope > 0))
            for index, task in enumerate(plan.tasks)
        ]
        self.names = [one_line(task.name) or ascii(task.name) for task in plan.tasks]
        """What the tasks are called, each on one printable line."""
        self.counts: dict[TaskState, int] = dict.fromkeys(TaskState, 0)
        for task in self.tasks:
            if task.index not in self._subplans:
                self.counts[task.state] += 1
        self.stalled: dict[int, float] = {}
        self.active: set[int] = set()
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.pace = Pace(plan, usual)
        self.paused_by = ""
        """Who or what has paused it, as far as that is known; it means something while it is paused."""
        self.capacity_due: dict[str, float] = {}
        """When an executor that is full is asked again, by name."""
        self.capacity_reasons: dict[str, str] = {}
        """Why it took nothing the last time, by name; not known where the past is not."""
        self._failures: dict[int, None] = {}
        self._course: deque[float] = deque(maxlen=COURSE_LIMIT)
        self._touched: set[int] = set()
        self._plan_touched = False

    # ── looking ─────────────────────────────────────────────────────────────────────────────────

    @property
    def max_parallel(self) -> int:
        """The slots of the plan that is run."""
        return self.scopes.outermost.max_parallel

    @property
    def failure_mode(self) -> FailureMode:
        """The failure mode of the plan that is run."""
        return self.scopes.outermost.failure_mode

    @property
    def health(self) -> float:
        """The share of success in all that has started or ended, 0..1. Pending work does not count;
        retrying and stopping count as running, cancelled as failed."""
        counts = self.counts
        good = counts[_SUCCESS]
        bad = counts[_FAILED] + counts[_SKIPPED] + counts[_CANCELLED]
        going = counts[_RUNNING] + counts[_RETRYING] + counts[_STOPPING]
        return good / max(1, good + bad + going)

    @property
    def finished(self) -> int:
        """How many tasks are terminal."""
        counts = self.counts
        return counts[_SUCCESS] + counts[_FAILED] + counts[_SKIPPED] + counts[_CANCELLED]

    @property
    def progress(self) -> float:
        """Terminal tasks of all, 0..1; 1 for a plan without tasks."""
        return self.finished / self.total if self.total else 1.0

    @property
    def slots_used(self) -> int:
        return len(self.active)

    @property
    def failures(self) -> list[int]:
        """Indices of the tasks now FAILED, in the order in which they failed; without what the subplan around
        it makes up for."""
        if not self._subplans:
            return list(self._failures)
        return [index for index in self._failures if not self._is_excused(index)]

    def _is_excused(self, index: int) -> bool:
        around = self.graph.nesting.around(index)
        return any(self.tasks[parent].state in (_SUCCESS, _SKIPPED) for parent in around)

    @property
    def health_course(self) -> list[float]:
        """The last healths, oldest first, at most `COURSE_LIMIT`; one for each change."""
        return list(self._course)

    @cached_property
    def ranks(self) -> list[int]:
        """The place of each task in the order in which ready tasks start."""
        return self.graph.ranks([self.pace.usual(index) for index in range(len(self.tasks))])

    def elapsed(self, now: float) -> float:
        """Seconds since the run began, standing still once it is complete; 0 before."""
        if self.started_at is None:
            return 0.0
        return max(0.0, (now if self.ended_at is None else self.ended_at) - self.started_at)

    def drain_changes(self) -> Changes:
        """What was touched since the last call."""
        changes = Changes(self._touched, self._plan_touched)
        self._touched = set()
        self._plan_touched = False
        return changes

    # ── the door ────────────────────────────────────────────────────────────────────────────────

    def enter(self, task: TaskView, state: TaskState, tolerated: bool = False) -> None:
        """Move a task. Every change of a state goes through here."""
        index = task.index
        self._touched.add(index)
        if state is _PENDING or state is _READY:
            # "READY straight after" is not announced: what the needs say is the truth
            state = _PENDING if task.unmet else _READY
        old = task.state
        if old is state and task.tolerated == tolerated:
            return
        was_met = old is _SUCCESS or task.tolerated
        task.state = state
        task.tolerated = tolerated
        if self._subplans and index in self._subplans:
            self._open_gate(index, old is _RUNNING, state is _RUNNING)
        else:
            counts = self.counts
            counts[old] -= 1
            counts[state] += 1
            if self._subplans:
                self._touched.update(self.scopes.count(index, old, state))
            if state is _RUNNING or state is _STOPPING:
                self.active.add(index)
            else:
                self.active.discard(index)
        if old is _FAILED:
            del self._failures[index]
        elif state is _FAILED:
            self._failures[index] = None
        if self.graph.special_conditions:
            if old in TERMINAL or state in TERMINAL:
                self._tell_dependents_apart(task, old, was_met)
        elif was_met != (state is _SUCCESS or tolerated):
            for dependent in self.graph.dependents[index]:
                self._need_changed(dependent, 1 if was_met else -1)
        health = self.health
        if not self._course or self._course[-1] != health:
            self._course.append(health)

    def _open_gate(self, index: int, was_open: bool, is_open: bool) -> None:
        """What belongs to a subplan needs it to be RUNNING."""
        if was_open != is_open:
            for inner in self._subplans[index]:
                self._need_changed(inner, 1 if was_open else -1)

    def _tell_dependents_apart(self, task: TaskView, old: TaskState, was_met: bool) -> None:
        """Recount the unmet needs where the dependents ask for different ends."""
        special = self.graph.special_conditions
        state = task.state
        is_met = state is _SUCCESS or task.tolerated
        for dependent in self.graph.dependents[task.index]:
            condition = special.get((task.index, dependent), Condition.SUCCESS)
            if condition is Condition.SUCCESS:
                before, after = was_met, is_met
            else:
                ends = MET_BY[condition]
                before, after = old in ends, state in ends
            if before != after:
                self._need_changed(dependent, 1 if before else -1)

    def _need_changed(self, dependent: int, by: int) -> None:
        """Count one more or one less unmet need; that alone makes a waiting task ready or pending."""
        task = self.tasks[dependent]
        task.unmet += by
        self._touched.add(dependent)
        works = dependent not in self._subplans
        if task.state is _PENDING:
            if not task.unmet:
                task.state = _READY
                self.counts[_PENDING] -= works
                self.counts[_READY] += works
        elif task.state is _READY and task.unmet:
            task.state = _PENDING
            self.counts[_READY] -= works
            self.counts[_PENDING] += works
