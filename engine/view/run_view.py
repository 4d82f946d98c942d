"""`RunView`: the events of a run folded into what is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

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
from engine.core.state import RunPhase, TaskState
from engine.ground.collector import collector_paused
from engine.plan.graph import Graph
from engine.view import reasons
from engine.view.tally import Changes, Tally
from engine.view.task_view import TaskView

__all__ = ["AUDIT_LIMIT", "Changes", "RunView", "TaskView"]

AUDIT_LIMIT: Final = 10_000
AUDIT_SLACK: Final = AUDIT_LIMIT // 10
"""How many more may be kept for a while: cutting a long list costs, so it is not cut for every event."""

_PENDING, _READY = TaskState.PENDING, TaskState.READY
_RUNNING, _STOPPING, _RETRYING = TaskState.RUNNING, TaskState.STOPPING, TaskState.RETRYING
_SUCCESS, _FAILED, _SKIPPED = TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED
_CANCELLED = TaskState.CANCELLED


class RunView(Tally):
    """A run as its events tell it. Folding an event costs the same in a plan of any size.

    last_seq: the number of the last event known. audit: the last `AUDIT_LIMIT` events or a few more, oldest
    first; audit_dropped: how many came before them.
    """

    def __init__(self, graph: Graph, run_id: str, usual: Sequence[float | None] = ()) -> None:
        """usual: seconds that each task takes in past runs, None where they do not tell; empty if they
        tell nothing."""
        super().__init__(graph, run_id, usual)
        self.last_seq = 0
        self.audit: list[Event] = []
        self.audit_dropped = 0

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
            view.enter(task, kept.state, kept.tolerated)
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

    def why(self, index: int, now: float, last_line: str = "") -> str:
        """Why the task stands where it stands, in one short phrase (see `engine.view.reasons`)."""
        return reasons.why(self, self.tasks[index], now, last_line)

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
        self.enter(task, event.state)

    def _on_completed(self, event: TaskCompleted) -> None:
        task = self._end(event, event.reason)
        task.outputs = event.outputs
        if self.capacity_due:
            self.capacity_due.pop(self.plan.tasks[task.index].executor, None)
        if self._end_attempt(task, event, None) and not event.reason:
            self.pace.add(task.index, event.offset - task.attempts[-1].started)
        self.enter(task, event.state)

    def _on_failed(self, event: TaskFailed) -> None:
        task = self._end(event)
        self._end_attempt(task, event, event.error)
        self.enter(task, event.state)

    def _on_retry_scheduled(self, event: RetryScheduled) -> None:
        task = self._end(event)
        if self._end_attempt(task, event, event.error):
            task.attempts[-1].retry_at = event.due
        task.due = event.due
        task.retries += 1
        self.enter(task, event.state)

    def _on_skipped(self, event: TaskSkipped) -> None:
        task = self._end(event, event.reason)
        task.blocked_by = event.blocked_by
        self._end_attempt(task, event, event.error)
        self.enter(task, event.state, event.tolerated)

    def _on_cancelled(self, event: TaskCancelled) -> None:
        task = self._end(event, event.reason)
        task.blocked_by = event.blocked_by
        if self._end_attempt(task, event, event.reason):
            task.attempts[-1].is_cancelled = True
        self.enter(task, event.state)

    def _on_stopping(self, event: TaskStopping) -> None:
        task = self._end(event, event.reason)
        if task.attempts and task.attempts[-1].ended is None and task.attempts[-1].stopping is None:
            task.attempts[-1].stopping = event.offset
        self.enter(task, event.state)

    def _on_reset(self, event: TaskReset) -> None:
        task = self._end(event)
        task.outputs = None
        if not event.interrupted:
            task.retries = 0
        elif task.attempts and task.attempts[-1].ended is None:
            task.attempts[-1].ended = event.offset
            task.attempts[-1].error = INTERRUPTED
        self.enter(task, event.state)

    def _on_held(self, event: TaskHeld) -> None:
        task = self.tasks[event.index]
        task.held = True
        task.held_by = event.cause
        self.enter(task, event.state)

    def _on_released(self, event: TaskReleased) -> None:
        task = self.tasks[event.index]
        task.held = False
        self.enter(task, event.state)

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
        executor = self.plan.tasks[task.index].executor
        self.capacity_due[executor] = event.due
        self.capacity_reasons[executor] = event.reason
        self.enter(task, event.state)

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
