"""Events made by hand: `EventFactory` counts numbers, times and attempts, and knows the states."""

from __future__ import annotations

from typing import Any, TypeVar

from engine.core.events import (
    DispatchDeferred,
    Event,
    FailureModeChanged,
    MaxParallelChanged,
    PlanCompleted,
    PlanPaused,
    PlanResumed,
    PlanStarted,
    RetryScheduled,
    StallCleared,
    TaskCancelled,
    TaskCompleted,
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
from engine.core.state import TERMINAL, Outcome, RunPhase, TaskState
from engine.plan.graph import Graph
from engine.plan.model import FailureMode

E = TypeVar("E", bound=Event)

EPOCH = 1_700_000_000.0
"""What the factory calls offset 0, in UTC."""


class EventFactory:
    """Makes the events of one run, in order. Tasks are given by name.

    Every event comes `step` seconds after the one before; `wait` lets more time pass. offset: the time
    of the last event. events: all that were made. It knows what stands in the events it made, no more:
    that a task is READY it does not work out.
    """

    def __init__(self, graph: Graph, *, run_id: str = "run", step: float = 1.0) -> None:
        self.graph = graph
        self.run_id = run_id
        self.step = step
        self.offset = -step
        self.events: list[Event] = []
        self.phase = RunPhase.PENDING
        self.failure_mode = graph.plan.failure_mode
        self.max_parallel = graph.plan.max_parallel
        self.state = dict.fromkeys(graph.index_of, TaskState.PENDING)
        self.attempt = dict.fromkeys(graph.index_of, 0)
        self._began = dict.fromkeys(graph.index_of, 0.0)

    def wait(self, seconds: float) -> None:
        """The next event comes that much later."""
        self.offset += seconds

    # ── tasks ───────────────────────────────────────────────────────────────────────────────────

    def started(self, task: str, where: str = "") -> TaskStarted | TaskRetried:
        """TASK_STARTED, or TASK_RETRIED if it is not the first attempt."""
        self.attempt[task] += 1
        kind = TaskStarted if self.attempt[task] == 1 else TaskRetried
        event = self._task(kind, task, TaskState.RUNNING, where=where)
        self._began[task] = event.offset
        return event

    def completed(self, task: str, **detail: Any) -> TaskCompleted:
        return self._ended(TaskCompleted, task, TaskState.SUCCESS, **detail)

    def failed(self, task: str, error: str = "exit 1", exit_code: int | None = 1) -> TaskFailed:
        limit = self.graph.plan.tasks[self.graph.index_of[task]].retry.limit
        detail = {"error": error, "exit_code": exit_code, "retry_count": limit, "max_retries": limit}
        return self._ended(TaskFailed, task, TaskState.FAILED, **detail)

    def retry_scheduled(
        self, task: str, delay: float = 10.0, error: str = "exit 1", exit_code: int | None = 1
    ) -> RetryScheduled:
        due = self.offset + self.step + delay
        return self._ended(
            RetryScheduled, task, TaskState.RETRYING, due=due, delay=delay, error=error, exit_code=exit_code
        )

    def skipped(self, task: str, reason: str = "", **detail: Any) -> TaskSkipped:
        return self._ended(TaskSkipped, task, TaskState.SKIPPED, reason=reason, **detail)

    def tolerated(self, task: str, error: str = "exit 1", exit_code: int | None = 1) -> TaskSkipped:
        return self.skipped(
            task, "its failure is tolerated", error=error, exit_code=exit_code, tolerated=True
        )

    def cancelled(self, task: str, reason: str = "cancelled by operator", **detail: Any) -> TaskCancelled:
        return self._ended(TaskCancelled, task, TaskState.CANCELLED, reason=reason, **detail)

    def stopping(
        self, task: str, reason: str = "cancelled by operator", *, kill: bool = False
    ) -> TaskStopping:
        return self._task(TaskStopping, task, TaskState.STOPPING, reason=reason, kill=kill)

    def reset(self, task: str) -> TaskReset:
        return self._task(TaskReset, task, TaskState.PENDING)

    def held(self, task: str) -> TaskHeld:
        return self._task(TaskHeld, task, self.state[task])

    def released(self, task: str) -> TaskReleased:
        return self._task(TaskReleased, task, self.state[task])

    def stalled(self, task: str, silent_for: float = 30.0, last_line: str = "") -> TaskStalled:
        return self._task(TaskStalled, task, self.state[task], silent_for=silent_for, last_line=last_line)

    def stall_cleared(self, task: str) -> StallCleared:
        return self._task(StallCleared, task, self.state[task])

    def deferred(self, task: str, delay: float = 0.1, reason: str = "all busy") -> DispatchDeferred:
        due = self.offset + self.step + delay
        return self._task(DispatchDeferred, task, TaskState.READY, due=due, reason=reason)

    # ── the whole run ───────────────────────────────────────────────────────────────────────────

    def plan_started(self) -> PlanStarted:
        plan = self.graph.plan
        return self._plan(
            PlanStarted,
            RunPhase.RUNNING,
            plan=plan.name,
            tasks=len(plan.tasks),
            max_parallel=self.max_parallel,
            failure_mode=self.failure_mode,
        )

    def plan_completed(
        self, outcome: Outcome = Outcome.SUCCESS, diagnosis: str | None = None
    ) -> PlanCompleted:
        ends = {state.value: list(self.state.values()).count(state) for state in TERMINAL}
        retried = sum(type(event) is TaskRetried for event in self.events)
        return self._plan(
            PlanCompleted,
            RunPhase.COMPLETE,
            outcome=outcome,
            duration=self.offset + self.step,
            retried=retried,
            diagnosis=diagnosis,
            **ends,
        )

    def paused(self, phase: RunPhase = RunPhase.PAUSED) -> PlanPaused:
        return self._plan(PlanPaused, phase)

    def resumed(self) -> PlanResumed:
        return self._plan(PlanResumed, RunPhase.RUNNING)

    def mode_changed(self, mode: FailureMode) -> FailureModeChanged:
        old, self.failure_mode = self.failure_mode, mode
        return self._plan(FailureModeChanged, self.phase, old=old, new=mode)

    def slots_changed(self, slots: int) -> MaxParallelChanged:
        old, self.max_parallel = self.max_parallel, slots
        return self._plan(MaxParallelChanged, self.phase, old=old, new=slots)

    def subplan_paused(self, scope: int) -> PlanPaused:
        return self._plan(PlanPaused, self.phase, scope=scope)

    def subplan_slots_changed(self, scope: int, old: int, new: int) -> MaxParallelChanged:
        return self._plan(MaxParallelChanged, self.phase, old=old, new=new, scope=scope)

    # ── small steps ─────────────────────────────────────────────────────────────────────────────

    def _event(self, kind: type[E], **detail: Any) -> E:
        self.offset += self.step
        event = kind(
            seq=len(self.events) + 1,
            utc=EPOCH + self.offset,
            offset=self.offset,
            run_id=self.run_id,
            cause="test",
            **detail,
        )
        self.events.append(event)
        return event

    def _task(self, kind: type[E], task: str, state: TaskState, **detail: Any) -> E:
        self.state[task] = state
        return self._event(
            kind,
            task=task,
            index=self.graph.index_of[task],
            attempt=self.attempt[task],
            state=state,
            **detail,
        )

    def _ended(self, kind: type[E], task: str, state: TaskState, **detail: Any) -> E:
        if self.state[task] in (TaskState.RUNNING, TaskState.STOPPING):
            detail.setdefault("duration", self.offset + self.step - self._began[task])
        elif issubclass(kind, TaskCompleted | TaskFailed | RetryScheduled):
            detail.setdefault("duration", 0.0)
        return self._task(kind, task, state, **detail)

    def _plan(self, kind: type[E], phase: RunPhase, **detail: Any) -> E:
        self.phase = phase
        return self._event(kind, phase=phase, **detail)
