"""`Completion`: a run's events followed to its end, and the `PlanResult` made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import anyio

from engine.core.events import (
    Event,
    FailureModeChanged,
    PlanCompleted,
    PlanResumed,
    TaskCompleted,
    TaskEvent,
    TaskFailed,
    TaskReset,
    TaskSkipped,
    TaskStarted,
)
from engine.plan.model import Plan
from engine.plan.nesting import Nesting
from engine.result import PlanResult, SubplanFailure, failure_detail


class Completion:
    """Needs to hear every event of the run, from the first. A retry reopens what was complete."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        self._plan = plan
        self._nesting = Nesting(plan)
        self._modes = [plan.failure_mode, *(subplan.failure_mode for subplan in plan.subplans)]
        self._run_id = run_id
        self._failures: dict[int, TaskFailed] = {}
        self._completed: PlanCompleted | None = None
        self._completion = anyio.Event()

    def listen(self, events: Sequence[Event]) -> None:
        """Keep what the result is made of."""
        for event in events:
            kind = type(event)
            if kind is TaskStarted:
                continue  # told apart first: with their ends, they are nearly all there is
            if kind is TaskCompleted or kind is TaskReset or kind is TaskSkipped:
                if self._failures:
                    self._forget(cast(TaskEvent, event).index, with_inside=kind is not TaskReset)
            elif isinstance(event, TaskFailed):
                self._failures[event.index] = event
            elif isinstance(event, PlanCompleted):
                self._completed = event
                self._completion.set()
            elif isinstance(event, PlanResumed):
                self._reopen()
            elif isinstance(event, FailureModeChanged):
                self._modes[event.scope] = event.new

    def forget(self) -> None:
        """Be as if nothing had been heard. Who waits goes on waiting."""
        self._failures.clear()
        self._reopen()

    async def wait(self) -> PlanResult:
        """Return once the run is complete, at once if it is."""
        while self._completed is None:
            await self._completion.wait()
        return self._result(self._completed)

    def _forget(self, index: int, *, with_inside: bool) -> None:
        """It has not failed any more; nor, if its end makes up for that, has anything inside."""
        self._failures.pop(index, None)
        if with_inside:
            for inner in self._nesting.inside.get(index, ()):
                self._failures.pop(inner, None)

    def _subplan(self, first: TaskFailed) -> SubplanFailure | None:
        """The outermost subplan that failed of the first failure."""
        failed = [
            index
            for index in (first.index, *self._nesting.around(first.index))
            if self._is_failed_subplan(index)
        ]
        if not failed:
            return None
        children = self._nesting.children[failed[-1]]
        inside = sorted(
            (self._failures[inner] for inner in children if inner in self._failures),
            key=lambda failure: failure.seq,
        )
        scope = self._nesting.scopes[failed[-1]]
        return SubplanFailure(
            self._plan.tasks[failed[-1]].name,
            self._modes[scope],
            tuple((failure.task, failure.error) for failure in inside),
        )

    def _is_failed_subplan(self, index: int) -> bool:
        """Whether it stands for a subplan in which something failed, and not by itself."""
        children = self._nesting.children.get(index, ())
        return index in self._failures and any(inner in self._failures for inner in children)

    def _reopen(self) -> None:
        if self._completed is not None:
            self._completed = None
            self._completion = anyio.Event()

    def _result(self, completed: PlanCompleted) -> PlanResult:
        failures = tuple(sorted(self._failures.values(), key=lambda failure: failure.seq))
        first = failures[0] if failures else None
        return PlanResult(
            run_id=self._run_id,
            plan=self._plan.name,
            outcome=completed.outcome,
            duration=completed.duration,
            success=completed.success,
            failed=completed.failed,
            skipped=completed.skipped,
            cancelled=completed.cancelled,
            tolerated=completed.tolerated,
            retried=completed.retried,
            failures=failures,
            failed_task_index=None if first is None else first.index,
            failed_task_detail=None if first is None else failure_detail(self._plan, first),
            failed_subplan=None if first is None else self._subplan(first),
            diagnosis=completed.diagnosis,
        )
