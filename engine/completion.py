"""`Completion`: a run's events followed to its end, and the `PlanResult` made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import anyio

from engine.core.events import (
    Event,
    PlanCompleted,
    PlanResumed,
    TaskCompleted,
    TaskEvent,
    TaskFailed,
    TaskReset,
    TaskStarted,
)
from engine.failure import failure_detail
from engine.handle import PlanResult
from engine.plan.model import Plan


class Completion:
    """Needs to hear every event of the run, from the first. A retry reopens what was complete."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        self._plan = plan
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
            if kind is TaskCompleted or kind is TaskReset:
                if self._failures:
                    self._failures.pop(cast(TaskEvent, event).index, None)
            elif isinstance(event, TaskFailed):
                self._failures[event.index] = event
            elif isinstance(event, PlanCompleted):
                self._completed = event
                self._completion.set()
            elif isinstance(event, PlanResumed):
                self._reopen()

    def forget(self) -> None:
        """Be as if nothing had been heard. Who waits goes on waiting."""
        self._failures.clear()
        self._reopen()

    async def wait(self) -> PlanResult:
        """Return once the run is complete, at once if it is."""
        while self._completed is None:
            await self._completion.wait()
        return self._result(self._completed)

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
            diagnosis=completed.diagnosis,
        )
