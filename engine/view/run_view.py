"""`RunView`: the events of a run folded into what is shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import msgspec

from engine.collector import collector_paused
from engine.core.events import (
    DispatchDeferred,
    Event,
    FailureModeChanged,
    HookEnded,
    MaxParallelChanged,
    PlanCompleted,
    PlanEvent,
    PlanPaused,
    PlanResumed,
    PlanStarted,
    RetryScheduled,
    StallCleared,
    TaskCancelled,
    TaskCompleted,
    TaskEvent,
    TaskFailed,
    TaskHeld,
    TaskReleased,
    TaskReset,
    TaskRetried,
    TaskSkipped,
    TaskStalled,
    TaskStarted,
    TaskStopping,
)
from engine.core.records import INTERRUPTED, AttemptRecord, Snapshot
from engine.core.state import TERMINAL, Outcome, RunPhase, TaskState
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode
from engine.view import reasons
from engine.view.pace import Pace
from engine.view.scope_view import ScopeViews
from engine.view.task_view import TaskView
from engine.view.text import one_line

__all__ = ["AUDIT_LIMIT", "Changes", "RunView", "TaskView"]

AUDIT_LIMIT: Final = 10_000
AUDIT_SLACK: Final = AUDIT_LIMIT // 10
"""How many more may be kept for a while: cutting a long list costs, so it is not cut for every event."""

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


class RunView:
    """A run as its events tell it. Folding an event costs the same in a plan of any size.

    That a task is READY is no event of its own: the view derives it from the needs, so that every
    event leaves PENDING and READY exact.

    A task that stands for a subplan does no work: it is in no count, no health and no progress, and takes no
    slot; what is inside is and does.

    tasks: by index. counts: every `TaskState` is a key. stalled: index -> offset since
    which the task has been silent, oldest first. active: indices of what holds a slot (RUNNING or
    STOPPING). started_at, ended_at: offsets. audit: the last `AUDIT_LIMIT` events or a few more, oldest
    first; audit_dropped: how many came before them. pace: how long tasks take.
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
        self.total = len(plan.tasks) - len(plan.subplans)
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
        self.last_seq = 0
        self.audit: list[Event] = []
        self.audit_dropped = 0
        self.pace = Pace(plan, usual)
        self.paused_by = ""
        """Who or what has paused it, as far as that is known; it means something while it is paused."""
        self.capacity_due: dict[str, float] = {}
        """When an executor that is full is asked again, by name."""
        self._failures: dict[int, None] = {}
        self._course: deque[float] = deque(maxlen=COURSE_LIMIT)
        self._touched: set[int] = set()
        self._plan_touched = False

    @classmethod
    @collector_paused()
    def from_snapshot(cls, graph: Graph, snapshot: Snapshot) -> RunView:
        """The view of someone who joins late. Events up to the snapshot's number are ignored afterwards."""
        usual = [task.usual for task in snapshot.tasks]
        view = cls(graph, snapshot.run_id, usual if any(seconds is not None for seconds in usual) else ())
        view.phase = snapshot.phase
        view.outcome = snapshot.outcome
        view.scopes.adopt(snapshot)
        view.last_seq = snapshot.seq
        view.diagnosis = snapshot.diagnosis
        view.audit = list(snapshot.past)
        view.audit_dropped = snapshot.seq - len(view.audit)
        for task, kept in zip(view.tasks, snapshot.tasks, strict=True):
            # the record of an attempt that goes on is still written to by its owner
            task.attempts = [r if r.ended is not None else msgspec.structs.replace(r) for r in kept.attempts]
            task.held = kept.held
            task.held_by = kept.held_by
            task.stalled_since = kept.stalled_since
            task.due = kept.due
            task.reason = kept.reason
            task.blocked_by = kept.blocked_by
            task.retries = kept.retries
            task.outputs = kept.outputs
            if kept.state is _READY and kept.due is not None:
                executor = view.plan.tasks[task.index].executor
                view.capacity_due[executor] = max(kept.due, view.capacity_due.get(executor, 0.0))
            view._enter(task, kept.state, kept.tolerated)
        view._recall_times(snapshot)
        view._course.clear()
        view._course.append(view.health)
        view._touched.clear()
        return view

    def _recall_times(self, snapshot: Snapshot) -> None:
        """Rebuild what the snapshot holds only in the records of the attempts."""
        last_end: dict[int, float] = {}
        for task in self.tasks:
            for record in task.attempts:
                if record.ended is not None:
                    last_end[task.index] = record.ended
            if task.state is _SUCCESS and task.index in last_end:
                self.pace.add(task.index, last_end[task.index] - task.attempts[-1].started)
        self._failures = dict.fromkeys(sorted(self._failures, key=lambda i: (last_end.get(i, 0.0), i)))
        stalls = [(t.stalled_since, t.index) for t in self.tasks if t.stalled_since is not None]
        self.stalled = {index: since for since, index in sorted(stalls)}
        if self.phase is not RunPhase.PENDING:
            self.started_at = snapshot.began
        if self.phase is RunPhase.COMPLETE:
            self.ended_at = max(last_end.values(), default=snapshot.offset)

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

    def why(self, index: int, now: float, last_line: str = "") -> str:
        """Why the task stands where it stands, in one short phrase (see `engine.view.reasons`)."""
        return reasons.why(self, self.tasks[index], now, last_line)

    def drain_changes(self) -> Changes:
        """What was touched since the last call."""
        changes = Changes(self._touched, self._plan_touched)
        self._touched = set()
        self._plan_touched = False
        return changes

    # ── folding ─────────────────────────────────────────────────────────────────────────────────

    def apply(self, events: Iterable[Event]) -> None:
        """Fold events in, in their order. Those that are known already (by number) are ignored."""
        audit = self.audit
        last_seq = self.last_seq
        for event in events:
            if event.seq > last_seq:
                self.last_seq = last_seq = event.seq
                audit.append(event)
                _FOLD[type(event)](self, event)
        if len(audit) > AUDIT_LIMIT + AUDIT_SLACK:
            excess = len(audit) - AUDIT_LIMIT
            del audit[:excess]
            self.audit_dropped += excess

    def _enter(self, task: TaskView, state: TaskState, tolerated: bool = False) -> None:
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
                ends = reasons.MET_BY[condition]
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

    def _revive(self, task: TaskView) -> None:
        if task.stalled_since is not None:
            task.stalled_since = None
            del self.stalled[task.index]

    def _end_attempt(self, task: TaskView, event: Any, error: str | None) -> bool:
        """Close the record of the attempt that goes on; False if none does."""
        if task.attempts and task.attempts[-1].ended is None:
            record = task.attempts[-1]
        elif event.duration and event.attempt > task.attempt:
            # taken up while it was told to stop already: that is no event
            began = event.offset - event.duration
            record = AttemptRecord(event.attempt, began, stopping=began)
            task.attempts.append(record)
        else:
            return False
        record.ended = event.offset
        record.exit_code = event.exit_code
        record.error = error
        return True

    def _end(self, event: TaskEvent, reason: str = "") -> TaskView:
        """What every event that ends a task or an attempt has in common."""
        task = self.tasks[event.index]
        self._revive(task)
        task.due = None
        task.reason = reason
        task.blocked_by = None
        return task

    def _on_started(self, event: TaskStarted | TaskRetried) -> None:
        task = self.tasks[event.index]
        task.attempts.append(AttemptRecord(event.attempt, event.offset, where=event.where))
        task.due = None
        task.reason = ""
        if self.capacity_due:
            self.capacity_due.pop(self.plan.tasks[task.index].executor, None)
        self._enter(task, event.state)

    def _on_completed(self, event: TaskCompleted) -> None:
        task = self._end(event, event.reason)
        task.outputs = event.outputs
        if self.capacity_due:
            self.capacity_due.pop(self.plan.tasks[task.index].executor, None)
        if self._end_attempt(task, event, None) and not event.reason:
            self.pace.add(task.index, event.offset - task.attempts[-1].started)
        self._enter(task, event.state)

    def _on_failed(self, event: TaskFailed) -> None:
        task = self._end(event)
        self._end_attempt(task, event, event.error)
        self._enter(task, event.state)

    def _on_retry_scheduled(self, event: RetryScheduled) -> None:
        task = self._end(event)
        if self._end_attempt(task, event, event.error):
            task.attempts[-1].retry_at = event.due
        task.due = event.due
        task.retries += 1
        self._enter(task, event.state)

    def _on_skipped(self, event: TaskSkipped) -> None:
        task = self._end(event, event.reason)
        task.blocked_by = event.blocked_by
        self._end_attempt(task, event, event.error)
        self._enter(task, event.state, event.tolerated)

    def _on_cancelled(self, event: TaskCancelled) -> None:
        task = self._end(event, event.reason)
        task.blocked_by = event.blocked_by
        if self._end_attempt(task, event, event.reason):
            task.attempts[-1].is_cancelled = True
        self._enter(task, event.state)

    def _on_stopping(self, event: TaskStopping) -> None:
        task = self._end(event, event.reason)
        if task.attempts and task.attempts[-1].ended is None and task.attempts[-1].stopping is None:
            task.attempts[-1].stopping = event.offset
        self._enter(task, event.state)

    def _on_reset(self, event: TaskReset) -> None:
        task = self._end(event)
        task.outputs = None
        if not event.interrupted:
            task.retries = 0
        elif task.attempts and task.attempts[-1].ended is None:
            task.attempts[-1].ended = event.offset
            task.attempts[-1].error = INTERRUPTED
        self._enter(task, event.state)

    def _on_held(self, event: TaskHeld) -> None:
        task = self.tasks[event.index]
        task.held = True
        task.held_by = event.cause
        self._enter(task, event.state)

    def _on_released(self, event: TaskReleased) -> None:
        task = self.tasks[event.index]
        task.held = False
        self._enter(task, event.state)

    def _on_stalled(self, event: TaskStalled) -> None:
        task = self.tasks[event.index]
        self._revive(task)  # a second report replaces the first
        since = event.offset - event.silent_for
        task.stalled_since = since
        self.stalled[task.index] = since
        in_order = sorted(self.stalled.items(), key=lambda item: (item[1], item[0]))
        self.stalled = dict(in_order)
        self._touched.add(task.index)

    def _on_stall_cleared(self, event: StallCleared) -> None:
        self._revive(self.tasks[event.index])
        self._touched.add(event.index)

    def _on_deferred(self, event: DispatchDeferred) -> None:
        task = self.tasks[event.index]
        task.due = event.due
        self.capacity_due[self.plan.tasks[task.index].executor] = event.due
        self._enter(task, event.state)

    def _on_plan(self, event: PlanEvent) -> None:
        self._plan_touched = True
        self.phase = event.phase
        if event.phase is not RunPhase.COMPLETE:
            self.outcome = None
            self.diagnosis = None
            self.ended_at = None

    def _on_plan_started(self, event: PlanStarted) -> None:
        self._on_plan(event)
        self.started_at = event.offset
        self.scopes.outermost.max_parallel = event.max_parallel
        self.scopes.outermost.failure_mode = event.failure_mode

    def _on_plan_completed(self, event: PlanCompleted) -> None:
        self._on_plan(event)
        self.outcome = event.outcome
        self.diagnosis = event.diagnosis
        self.ended_at = event.offset

    def _on_paused(self, event: PlanPaused | PlanResumed) -> None:
        self._on_plan(event)
        if event.scope:
            self.scopes.all[event.scope].paused = isinstance(event, PlanPaused)
        else:
            self.paused_by = event.cause

    def _on_failure_mode(self, event: FailureModeChanged) -> None:
        self._on_plan(event)
        self.scopes.all[event.scope].failure_mode = event.new

    def _on_max_parallel(self, event: MaxParallelChanged) -> None:
        self._on_plan(event)
        self.scopes.all[event.scope].max_parallel = event.new


_FOLD: Final[dict[type[Event], Callable[[RunView, Any], None]]] = {
    TaskStarted: RunView._on_started,
    TaskRetried: RunView._on_started,
    TaskCompleted: RunView._on_completed,
    TaskFailed: RunView._on_failed,
    RetryScheduled: RunView._on_retry_scheduled,
    TaskSkipped: RunView._on_skipped,
    TaskCancelled: RunView._on_cancelled,
    TaskStopping: RunView._on_stopping,
    TaskReset: RunView._on_reset,
    TaskHeld: RunView._on_held,
    TaskReleased: RunView._on_released,
    TaskStalled: RunView._on_stalled,
    StallCleared: RunView._on_stall_cleared,
    DispatchDeferred: RunView._on_deferred,
    PlanStarted: RunView._on_plan_started,
    PlanCompleted: RunView._on_plan_completed,
    PlanPaused: RunView._on_paused,
    PlanResumed: RunView._on_paused,
    FailureModeChanged: RunView._on_failure_mode,
    HookEnded: RunView._on_plan,
    MaxParallelChanged: RunView._on_max_parallel,
}
